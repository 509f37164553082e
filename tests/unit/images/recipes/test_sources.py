"""Package sources: those of the distribution, none of others."""

from berth.images.recipes.sources import Source, of_distribution, parse_deb822, parse_list, render_deb822

LIST = """\
# a comment
deb http://deb.example/debian bookworm main contrib
deb-src http://deb.example/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg] https://other.example/apt bookworm stable
deb [signed-by=/d.gpg] http://deb.example/debian-security bookworm-security main # trailing
"""
PARAGRAPHS = """\
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main non-free
Signed-By: /usr/share/keyrings/debian.gpg

# off
Types: deb
URIs: http://off.example
Suites: bookworm
Components: main
Enabled: no

Types: deb
URIs: https://pg.example/apt
Suites: bookworm-pgdg
Components: main
"""


def test_one_line_form() -> None:
    found = of_distribution(parse_list(LIST), "bookworm")
    assert found == [
        Source(("http://deb.example/debian",), ("bookworm",), ("main",)),
        Source(("http://deb.example/debian-security",), ("bookworm-security",), ("main",), "/d.gpg"),
    ]


def test_paragraph_form() -> None:
    (found,) = of_distribution(parse_deb822(PARAGRAPHS), "bookworm")
    assert found.suites == ("bookworm", "bookworm-updates")
    assert found.components == ("main",)
    assert parse_deb822(render_deb822([found])) == [found]


def test_a_key_in_the_paragraph_survives() -> None:
    text = "Types: deb\nURIs: u\nSuites: s\nComponents: main\nSigned-By:\n -----BEGIN-----\n .\n abc\n"
    (found,) = parse_deb822(text)
    assert parse_deb822(render_deb822([found])) == [found]


def test_another_release_has_none() -> None:
    assert of_distribution(parse_list(LIST), "trixie") == []
