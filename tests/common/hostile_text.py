"""What a stranger may write where a program expects a word, and how to see that it came to nothing."""

from __future__ import annotations

import unicodedata

FORGED = "INFO :      round 99 of 4: 40 of 40 devices admitted"
ATTACKS = {
    "ansi": "\x1b[2J\x1b[31mPWNED\x1b[0m",
    "title": "\x1b]0;title\x07PWNED",
    "line": f"PWNED\n{FORGED}\n",
    "carriage": f"PWNED\r{FORGED}\r\n",
    "vertical": f"PWNED\x0b{FORGED}\x0c{FORGED}",
    "separators": f"PWNED\u2028{FORGED}\u2029{FORGED}\x85{FORGED}",
    "c1": "\x9b31mPWNED\x9d0;title\x9c\x7f",
    "bidi": "PWNED\u202etxt.exe\u202c\u2066\u2069\u200f",
    "markup": "PWNED[red]x[/red][link=http://x]y[/link][/]",
    "html": "PWNED<script>alert(1)</script><img src=x onerror=alert(1)>\"'",
    "surrogate": "PWNED\ud800",
    "huge": "PWNED" + "B" * 5_000_000,
}
HOSTILE = "".join(text for name, text in ATTACKS.items() if name not in ("huge", "surrogate"))


def check_harmless(text: str, longest: int) -> None:
    """Only line feeds act, no line passes for the server's own, and none is longer than ``longest``."""
    acting = {c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    assert not acting, ascii(sorted(acting))
    lines = text.split("\n")
    assert not [line for line in lines if line.startswith(FORGED)]
    assert max(map(len, lines)) <= longest
