"""Text to tokens, one at a time, so that a program is never held as a list of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple, NoReturn

from tn_qnn.circuit.qasm.source import MAX_DEPTH, MAX_WORD, Source, shown


class Token(NamedTuple):
    """A token: its kind, its text, and where it starts."""

    kind: str  # word, integer, real, string, symbol, hardware, directive, end
    text: str
    offset: int


_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*|/\*.*?\*/)
    |(?P<word>[^\W\d]\w*)
    |(?P<real>(?:\d[\d_]*\.[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?|\d[\d_]*[eE][+-]?\d+)
    |(?P<integer>0[xX][0-9a-fA-F_]+|0[bB][01_]+|0o[0-7_]+|\d[\d_]*)
    |(?P<string>"[^"\n]*"|'[^'\n]*')
    |(?P<hardware>\$\d+)
    |(?P<pragma>\#\s*pragma\b[^\n]*)
    |(?P<symbol>\*\*|\+\+|->|==|!=|<=|>=|<<|>>|&&|\|\||[-+*/%^=<>!~&|@:;,.(){}\[\]])
    """,
    re.VERBOSE | re.DOTALL,
)
_LINE = re.compile(r"[^\n]*")


def tokens(source: Source) -> Iterator[Token]:
    """Yield the tokens of a program, the last one of kind ``end``.

    An annotation (``@name ...`` where a statement starts) and a pragma are one token each,
    of kind ``directive``, up to the end of the line.
    """
    text, offset, starts_statement = source.text, 0, True
    while offset < len(text):
        match = _TOKEN.match(text, offset)
        if match is None:
            source.fail(offset, _stray(text, offset))
        kind, end = match.lastgroup or "", match.end()
        if kind == "space":
            offset = end
            continue
        token = Token(kind, match.group(), offset)
        if starts_statement and (token.text in ("@", "pragma") or kind == "pragma"):
            end = _LINE.match(text, offset).end()  # type: ignore[union-attr]
            yield Token("directive", text[offset:end], offset)
            offset = end
            continue
        if len(token.text) > MAX_WORD:
            source.fail(
                offset, f"found a {kind} of {len(token.text)} characters; at most {MAX_WORD}"
            )
        yield token
        starts_statement = token.text in (";", "{", "}")
        offset = end
    yield Token("end", "", len(text))


def _stray(text: str, offset: int) -> str:
    if text.startswith("/*", offset):
        return "found a comment without an end; close it with */"
    if text[offset] in "\"'":
        return "found a string without an end; close it on the same line"
    return f"found {shown(text[offset])}, which no OpenQASM statement holds; remove it"


class Cursor:
    """The token at hand, and the way to the next one."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._tokens = tokens(source)
        self._depth = 0
        self.current = next(self._tokens)

    def advance(self) -> Token:
        """Take the token at hand."""
        token = self.current
        if token.kind != "end":
            self.current = next(self._tokens)
        return token

    def at(self, *texts: str) -> bool:
        """True where the token at hand is a symbol or word of these."""
        return self.current.text in texts and self.current.kind in ("symbol", "word")

    def accept(self, text: str) -> bool:
        """Take the symbol or word ``text`` if it is at hand."""
        if not self.at(text):
            return False
        self.advance()
        return True

    def expect(self, text: str) -> Token:
        """Take the symbol or word ``text``; anything else is an error."""
        if not self.at(text):
            self.unexpected(f"'{text}'")
        return self.advance()

    def expect_kind(self, kind: str, what: str) -> Token:
        """Take a token of this kind; anything else is an error."""
        if self.current.kind != kind:
            self.unexpected(what)
        return self.advance()

    def unexpected(self, expected: str) -> NoReturn:
        """Fail at the token at hand."""
        found = "the end of the text" if self.current.kind == "end" else shown(self.current.text)
        self.fail(f"found {found} where {expected} was expected")

    def fail(self, problem: str, token: Token | None = None) -> NoReturn:
        """Fail at a token, by default the one at hand."""
        self.source.fail((token or self.current).offset, problem)

    def enter(self) -> None:
        """Go one level deeper into an expression."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self.fail(f"found more than {MAX_DEPTH} nested expressions; simplify them")

    def leave(self) -> None:
        """Come back from one level."""
        self._depth -= 1
