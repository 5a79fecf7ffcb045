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


_SPACE = re.compile(r"(?:\s++|//[^\n]*+|/\*.*?\*/)*+", re.DOTALL)
_TOKEN = re.compile(
    _SPACE.pattern
    + r"""(?:(?P<word>[^\W\d]\w*+)
    |(?P<real>(?:\d[\d_]*+\.[\d_]*+|\.\d[\d_]*+)(?:[eE][+-]?\d++)?|\d[\d_]*+[eE][+-]?\d++)
    |(?P<integer>0[xX][0-9a-fA-F_]++|0[bB][01_]++|0o[0-7_]++|\d[\d_]*+)
    |(?P<string>"[^"\n]*+"|'[^'\n]*+')
    |(?P<hardware>\$\d++)
    |(?P<pragma>\#\s*+pragma\b)
    |(?P<symbol>\*\*|\+\+|->|==|!=|<=|>=|<<|>>|&&|\|\||/(?!\*)|[-+*%^=<>!~&|@:;,.(){}\[\]])
    |(?P<end>\Z))
    """,
    re.VERBOSE | re.DOTALL,
)
_LINE = re.compile(r"[^\n]*+")
_STARTS_STATEMENT = frozenset(";{}")


def tokens(source: Source) -> Iterator[Token]:
    """Yield the tokens of a program, the last one of kind ``end``.

    An annotation (``@name ...`` where a statement starts) and a pragma are one token each,
    of kind ``directive``, up to the end of the line.
    """
    text, end, starts_statement, match_token = source.text, 0, True, _TOKEN.match
    while True:
        match = match_token(text, end)
        if match is None:
            offset = _end(_SPACE, text, end)
            source.fail(offset, _stray(text, offset))
        kind = match.lastgroup or ""
        word, offset, end = match[kind], match.start(kind), match.end()
        if starts_statement and (word in ("@", "pragma") or kind == "pragma"):
            end = _end(_LINE, text, offset)
            yield Token("directive", text[offset:end], offset)
            continue
        if end - offset > MAX_WORD:
            source.fail(offset, f"found {end - offset} characters of a {kind}; at most {MAX_WORD}")
        yield Token(kind, word, offset)
        if kind == "end":
            return
        starts_statement = word in _STARTS_STATEMENT


def _end(pattern: re.Pattern[str], text: str, offset: int) -> int:
    match = pattern.match(text, offset)
    return match.end() if match else offset


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
