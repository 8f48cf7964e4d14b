"""What a spreadsheet would run instead of showing it."""

# Texts that begin with one of these, some of them full-width, are taken for formulas; texts come from
# callers.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
# Put in front, it makes a text of them.
HARMLESS = "'"
