"""Strings that do something wherever they are not shown as text: twelve groups, each with its variants.

They may stand as a feature's name or label, a unit, a category, a class, a file's name, a title or a note. `EVIL` is a
host that nothing may ever ask; `window.hacked` is what a script that ran would have set.
"""

from __future__ import annotations

EVIL = "evil.test"

HOSTILE: dict[str, tuple[str, ...]] = {
    "html": (
        f"<img src=x onerror=window.hacked=1><img src=http://{EVIL}/a.png>",
        f"<svg/onload=window.hacked=1><a href='javascript:window.hacked=1'>age</a><iframe src=//{EVIL}>",
        "\"' onmouseover=window.hacked=1 x='",
        "&lt;b&gt;&#60;i>&amp;",
    ),
    "script": (
        "</script><script>window.hacked=1</script>",
        "<!--<script>window.hacked=1//</title></style></textarea>",
        "]]><script>window.hacked=1</script>",
    ),
    "markdown": (
        f"![p](http://{EVIL}/b.png)",
        f"[age](http://{EVIL}/) **b** _i_ ~~s~~ `c`",
        f"http://{EVIL}/c www.{EVIL} mail@{EVIL} <http://{EVIL}>",
        "# age",
        "1. age",
        "> age -> 3",
        "| a | b |",
        "[age]: /x",
    ),
    "latex": ("$\\frac{1}{2}$", "$$\\href{javascript:window.hacked=1}{x}$$", "\\(x\\) \\[y\\]", "$a and b$"),
    "directive": (
        ":red[age]",
        ":material/delete:",
        ":material_delete:",
        ":streamlit:",
        ":smile: :help[x] :small[y] :color[z]{foreground=red}",
    ),
    "formula": (
        "=cmd|' /C calc'!A0",
        "@SUM(1+1)*cmd|' /C calc'!A0",
        "+1+1",
        "-1+1",
        "\t=1+1",
        "\r=1+1",
        "a;=1+1",
        f'=HYPERLINK("http://{EVIL}","x")',
        "＝1+1",
    ),
    "direction": ("\u202egnp.exe\u202c", "a\u200bg\u200de\ufeff", "\u2067age\u2069", "\u2066\u200fage", "عمر"),
    "long": ("age " * 2500, "x" * 10_000, "\u2068\u2069" * 5_000),
    "control": ("a\x00b", "\x1b[31mred\x1b]0;t\x07\x08", "a\nb\r\nc\td\x0b\x85\u2028\u2029e", "\x7f\x9b\ud800"),
    "path": ("../../etc/passwd", "..\\..\\boot.ini", "/etc/passwd\x00.csv", "CON", ".", "-rf", "file:///etc/passwd"),
    "sql": ("'; DROP TABLE cases; --", "1 OR 1=1 /*"),
    "template": (
        "{{7*7}} {% x %} {0} {age!r} {",
        "%s%n %(age)s %d",
        "${7*7} $(id) `id` #{7*7}",
        "%{customdata} %{x:.3f} %{meta[0]}",
    ),
}  # fmt: skip

#: All variants, in order.
EVERY = tuple(text for group in HOSTILE.values() for text in group)

#: One name for each group, short enough to be read in it, and no two alike.
NAMES = {group: variants[0] for group, variants in HOSTILE.items()}
