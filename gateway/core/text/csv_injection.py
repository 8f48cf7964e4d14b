"""CSV injection (formula injection): cells that a spreadsheet would run instead of show."""

# Spreadsheets take a text that begins with one of these, some of them full-width, for a formula. The
# texts come from callers. `HARMLESS` in front makes the cell a text.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
HARMLESS = "'"
