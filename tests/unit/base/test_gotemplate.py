"""Go's templates: what Docker's client prints for the same template and value."""

import pytest

from berth.base.gotemplate import Template, TemplateError, sprintf

VALUE = {
    "Id": "0123456789abcdef",
    "Name": "/web-1",
    "Size": 3,
    "On": True,
    "Labels": {"b": "2", "a": "1"},
    "List": ["x", "y"],
    "Empty": [],
    "Nothing": None,
    "State": {"Status": "running", "Code": 0},
    "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]},
    "Config": {"Cmd": None, "Entrypoint": ["/bin/sh"], "Labels": None},
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{.Name}}", "/web-1"),
        ("a{{.Size}}b", "a3b"),
        ("{{.State.Status}}", "running"),
        ("{{.On}} {{not .On}}", "true false"),
        ("{{.List}} {{.Labels}} {{.Empty}}", "[x y] map[a:1 b:2] []"),
        ('{{.Labels.a}}{{index .Labels "b"}}|{{index .Labels "zz"}}|', "12||"),
        ("{{index .List 1}}", "y"),
        ('{{(index (index .Ports "80/tcp") 0).HostPort}}', "8080"),
        ("{{.Ports}}", "map[80/tcp:[{0.0.0.0 8080}]]"),
        ("{{range .List}}<{{.}}>{{end}}", "<x><y>"),
        ("{{range $i, $e := .List}}{{if $i}},{{end}}{{$e}}{{end}}", "x,y"),
        ("{{range $k, $v := .Labels}}{{$k}}={{$v}};{{end}}", "a=1;b=2;"),
        ("{{range .Empty}}x{{else}}none{{end}}", "none"),
        ('{{range .List}}{{if eq . "x"}}{{continue}}{{end}}{{.}}{{end}}', "y"),
        ("{{range .List}}{{.}}{{break}}{{end}}", "x"),
        ("{{with .State}}{{.Status}}{{end}}", "running"),
        ("{{with .Empty}}a{{else}}b{{end}}", "b"),
        ("{{if .Empty}}a{{else if .On}}b{{else}}c{{end}}", "b"),
        ("{{if and .On (eq .Size 3)}}yes{{end}}", "yes"),
        ("{{$x := .Size}}{{if true}}{{$x = 9}}{{end}}{{$x}}", "9"),
        ("{{$x := 1}}{{if true}}{{$x := 2}}{{end}}{{$x}}", "1"),
        ("{{range .List}}{{$.Name}}{{end}}", "/web-1/web-1"),
        ("  {{- .Size -}}  x", "3x"),
        ("a{{/* no */}}b {{- /* no */ -}} c", "abc"),
        ('{{.Name | upper | printf "%s!"}}', "/WEB-1!"),
        ('{{printf "%q %5d|%-4s|%05.1f" .Name 3 "ab" 2.5}}', '"/web-1"     3|ab  |002.5'),
        ('{{join .List ","}} {{split "a-b" "-"}} {{title "ab cd"}} {{len .Name}}', "x,y [a b] Ab Cd 6"),
        ("{{json .List}} {{json .Name}} {{json .Nothing}}", '["x","y"] "/web-1" null'),
        ("{{json .State}}", '{"Status":"running","Code":0}'),
        ("{{slice .Id 0 12}}", "0123456789ab"),
        ("{{println .Size 1}}x", "3 1\nx"),
        ("{{eq .Size 1 2 3}} {{ne .Size 3}} {{lt 1 2}} {{ge 2 2}}", "true false true true"),
        ('{{or .Empty "d"}} {{and .On 5}}', "d 5"),
        ("{{.Nothing}} {{.Config.Cmd}} {{.Config.Entrypoint}} {{.Config.Labels}}", "<nil> [] [/bin/sh] map[]"),
        ("{{json .Config.Cmd}}", "null"),
        ("{{if .State.Health}}a{{else}}b{{end}}", "b"),
        ("{{.ID}}", "0123456789abcdef"),
        ('{{"a\\tb"}}{{`c\\t`}}', "a\tbc\\t"),
        ('{{print 1 2 "a" 3}}', "1 2a3"),
    ],
)
def test_renders(template: str, text: str) -> None:
    assert Template(template).render(VALUE) == text


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{.Nope}}", 'template: :1:2: executing "" at <.Nope>: map has no entry for key "Nope"'),
        ("x {{.State.Nope}}", 'template: :1:10: executing "" at <.State.Nope>: map has no entry for key "Nope"'),
        ("\n{{.Name.X}}", 'template: :2:7: executing "" at <.Name.X>: can\'t evaluate field X in type string'),
        ("{{index .List 9}}", 'template: :1:2: executing "" at <index>: error calling index: index out of range: 9'),
    ],
)
def test_says_where_it_does_not_fit(template: str, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        Template(template).render(VALUE)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{.Name", "template: :1: unclosed action"),
        ("{{range .List}}", "template: :1: unexpected EOF"),
        ("{{foo .}}", 'template: :1: function "foo" not defined'),
        ("{{end}}", "template: :1: unexpected {{end}}"),
        ("{{$x}}", 'template: :1: undefined variable "$x"'),
    ],
)
def test_says_what_does_not_parse(template: str, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        Template(template)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("form", "arguments", "text"),
    [
        ("%s-%d", ("a", 1), "a-1"),
        ("%5.2f|%x|%X|%t|%%|%v", (3.14159, 255, "hi", True, [1]), " 3.14|ff|6869|true|%|[1]"),
        ("%d", ("x",), "%!d(string=x)"),
        ("%s", (), "%!s(MISSING)"),
        ("a", (1,), "a%!(EXTRA int=1)"),
        ("%-5s|%.2s|%03d", ("ab", "abcd", 7), "ab   |ab|007"),
    ],
)
def test_printf(form: str, arguments: tuple[object, ...], text: str) -> None:
    assert sprintf(form, *arguments) == text
