"""What a spreadsheet would run instead of showing it."""

# Texts that begin with one of these are taken for formulas; texts come from callers.
FORMULA = ("=", "+", "-", "@", "\t", "\r")
# Put in front, it makes a text of them.
HARMLESS = "'"
