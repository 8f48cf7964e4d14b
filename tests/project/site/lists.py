"""CommonMark in the words of Python-Markdown, which MkDocs uses."""

import re

_ITEM = re.compile(r"(?:[-*+]|\d{1,9}\.) +")
_FENCE = re.compile(r"(`{3,}|~{3,})(\w*)")


def for_python_markdown(markdown: str) -> str:
    """What belongs to an item of a list is indented by four, and a language of code stands alone."""
    writer = _Writer()
    for line in markdown.split("\n"):
        writer.add(line)
    return "\n".join(writer.lines)


class _Writer:
    """Reads line by line, and knows the items of lists that are open."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        # Where the text of each open item begins.
        self._offsets: list[int] = []
        self._fence = ""
        self._was_list = False
        # How deep the first line since the last empty one is.
        self._block_depth = 0

    def add(self, line: str) -> None:
        text = line.lstrip(" ")
        if not text:
            self.lines.append("")
            return
        indent = len(line) - len(text)
        if not self._fence:
            self._close_items(indent)
        margin = self._offsets[-1] if self._offsets else 0
        depth, body = len(self._offsets), line[margin:]
        if not self.lines or not self.lines[-1]:
            self._block_depth = depth
        if self._fence or (opened := _FENCE.match(text)) is None:
            self._end_fence(text)
            if not self._fence and indent - margin < 4:
                self._open_item(text, indent)
        else:
            self._fence = opened[1]
            body = " " * (indent - margin) + opened[1] + opened[2]
        self.lines.append("    " * depth + body)

    def _close_items(self, indent: int) -> None:
        was_open = bool(self._offsets)
        while self._offsets and indent < self._offsets[-1]:
            self._offsets.pop()
        self._was_list = was_open

    def _open_item(self, text: str, indent: int) -> None:
        item = _ITEM.match(text)
        if item is None:
            return
        is_new = not self._was_list or self._block_depth > len(self._offsets)
        if is_new and self.lines and self.lines[-1]:
            # A list needs an empty line before it, and an item one after paragraphs of the item above.
            self.lines.append("")
            self._block_depth = len(self._offsets)
        self._offsets.append(indent + item.end())

    def _end_fence(self, text: str) -> None:
        if self._fence and text.rstrip() == self._fence:
            self._fence = ""
