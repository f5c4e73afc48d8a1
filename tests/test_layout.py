"""The rules of DESIGN.md's layout, read off the source: nothing is imported here."""

import ast
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
KIT = ROOT / "locadv_tf"

# From what is used to who uses it: each part imports from earlier ones only. Parts on one floor do not know each other.
FLOORS = (
    ("units", "startup", "validation", "network"),
    ("attacks", "models"),
    ("data",),
    ("engine", "training"),
    ("evaluation",),
    ("verdicts", "plotting"),
    ("reports",),
    ("course", "playground"),
    ("coursework", "broken"),  # old names of what is in course/, in notebooks that were handed out
    ("cli",),
)
MOST_AT_THE_ROOT = 8
LONGEST = 350  # lines; from about 250 on a module asks to be split along an idea
LISTS = {"locadv_tf.data.masks"}  # one function per answer, none of which needs another: not held to it


def modules(kit):
    """The modules of a package by name, `{"locadv_tf.data.load": path}`; a package's `__init__` has the package's."""
    names = {path: path.relative_to(kit.parent).with_suffix("").parts for path in sorted(kit.rglob("*.py"))}
    return {".".join(parts).removesuffix(".__init__"): path for path, parts in names.items()}


def imports(source, known):
    """The modules of the kit that a source imports, wherever it does."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import: write the module's whole name"
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in known else node.module for name in full}
    return found & set(known)


def graph(kit):
    known = modules(kit)
    return {name: imports(path.read_text(), known) for name, path in known.items()}


def against_the_floors(graph):
    """The imports that lead up, or sideways to another part, as text."""
    floor = {part: i for i, parts in enumerate(FLOORS) for part in parts}
    wrong = []
    for name, used in graph.items():
        for other in used:
            mine, theirs = (each.removeprefix("locadv_tf").strip(".").partition(".")[0] for each in (name, other))
            if mine and mine != theirs and (not theirs or floor[theirs] >= floor[mine]):  # the root's __init__ uses all
                wrong.append(f"{name} imports {other}")
    return wrong


def circles(graph):
    """The modules that are left once those which import nothing that is left are taken away, again and again."""
    left = dict(graph)
    while free := [name for name, used in left.items() if not used & (left.keys() - {name})]:
        for name in free:
            del left[name]
    return sorted(left)


def test_the_root_holds_few_modules_and_every_part_has_its_floor():
    at_the_root = {path.stem for path in KIT.glob("*.py")} - {"__init__"}
    assert len(at_the_root) <= MOST_AT_THE_ROOT
    packages = {path.parent.name for path in KIT.glob("*/__init__.py")}
    assert at_the_root | packages == {part for parts in FLOORS for part in parts}
    assert not list(KIT.glob("*/*/*.py")), "packages in packages"


def test_imports_go_one_way():
    assert against_the_floors(graph(KIT)) == []


def test_no_circle_between_modules():
    assert circles(graph(KIT)) == []


def test_the_command_beside_the_package_imports_only_what_runs_a_command():
    known = modules(KIT)
    assert imports((ROOT / "locadv.py").read_text(), known) == {"locadv_tf.cli"}
    assert not any(re.search(r"^\s*(import|from) locadv\b", path.read_text(), re.M) for path in known.values())


def test_no_module_is_too_long():
    lines = {name: len(path.read_text().splitlines()) for name, path in modules(KIT).items()}
    assert {name for name, count in lines.items() if count > LONGEST} <= LISTS, lines


@pytest.mark.parametrize("package", sorted(path.parent.name for path in KIT.glob("*/__init__.py")))
def test_the_tests_mirror_the_packages(package):
    assert list((ROOT / "tests" / package).glob("test_*.py"))


def only_renames(source):
    """Whether a module defines nothing of its own: all that it has is reachable under another module's name."""
    statements = ast.parse(source).body
    own = [each for each in statements if not isinstance(each, (ast.Import, ast.ImportFrom, ast.Expr))]
    return not own and len(statements) > 1  # more than a docstring


def test_nothing_has_two_addresses_but_what_was_handed_out():
    sources = {name: path.read_text() for name, path in modules(KIT).items() if path.stem != "__init__"}
    assert {name for name, source in sources.items() if only_renames(source)} == {
        "locadv_tf.broken",
        "locadv_tf.coursework",
    }
    stars = {name for name, source in sources.items() if re.search(r"^from \S+ import \*", source, re.MULTILINE)}
    assert stars == {"locadv_tf.broken", "locadv_tf.coursework"}
    assert not [name for name, source in sources.items() if "sys.modules[" in source]


def test_one_loop_keeps_the_rules():
    """Outside `attacks/` nobody puts a point into the ball or the range: `loop.take_step` does."""
    rules = re.compile(r"\bballs\.(project|to_ball|to_range)\b")
    assert not [
        name for name, path in modules(KIT).items() if ".attacks" not in name and rules.search(path.read_text())
    ]


def test_no_module_has_a_name_that_says_nothing_to_a_newcomer():
    gone = {"checks", "conduct", "evidence", "fast", "knobs", "outcomes", "planted", "quiet", "reading", "spread"}
    gone |= {"strength", "utils"}
    words = {word for name in modules(KIT) for word in name.split(".")}
    assert not words & gone
    assert [name for name in modules(KIT) if "broken" in name.split(".")] == ["locadv_tf.broken"]  # as handed out


def test_one_table_is_called_trainings():
    places = [*KIT.rglob("*.py"), *(ROOT / "benchmarks").glob("*.py"), *(ROOT / "results").glob("*.py")]
    found = [path for path in places if re.search(r"^TRAININGS\b.*=", path.read_text(), re.MULTILINE)]
    assert found == [KIT / "training" / "recipes.py"]


def public_names():
    (names,) = [
        ast.literal_eval(node.value)
        for node in ast.parse((KIT / "__init__.py").read_text()).body
        if isinstance(node, ast.Assign) and node.targets[0].id == "__all__"
    ]
    return set(names)


def of_the_kit(code, public):
    """What a notebook's code uses of the kit against the rules, as text."""
    wrong = []
    magic = re.compile(r"^(\s*)[%!].*", re.MULTILINE)
    for node in ast.walk(ast.parse(magic.sub(r"\1pass", code))):
        if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == "locadv_tf":
            allowed = node.module == "locadv_tf" and {alias.name for alias in node.names} <= {"coursework", "broken"}
            wrong += [] if allowed else [ast.unparse(node)]
        elif isinstance(node, ast.Import):
            wrong += [
                ast.unparse(node)
                for alias in node.names
                if alias.name.partition(".")[0] == "locadv_tf" and (alias.name, alias.asname) != ("locadv_tf", "la")
            ]
        elif isinstance(node, ast.Attribute):
            name = ast.unparse(node)
            unknown = re.fullmatch(r"la(\.\w+)+", name) and name.split(".")[1] not in public
            private = re.match(r"_(?!_)", node.attr)  # of whatever it is
            wrong += [name] if unknown or private else []
    return wrong


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").rglob("*_*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_use_public_names_only(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    public = public_names()
    for cell in cells:
        if cell["cell_type"] == "code":
            assert of_the_kit("".join(cell["source"]), public) == []


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        ("import locadv_tf as la\nla.PGD(eps=0.1)\nla.masks.border(x)", []),
        ("%matplotlib inline\nfrom locadv_tf import broken, coursework\ncoursework.check(f)", []),
        ("la.nonsense(x)", ["la.nonsense"]),
        ("[la.masks._blur(x) for x in y]", ["la.masks._blur"]),
        ("from locadv_tf import masks", ["from locadv_tf import masks"]),
        ("from locadv_tf.data import masks", ["from locadv_tf.data import masks"]),
        ("import locadv_tf", ["import locadv_tf"]),
        ("import locadv_tf.data.masks as masks", ["import locadv_tf.data.masks as masks"]),
        ("coursework._told(1)", ["coursework._told"]),
        ("la.PGD(eps=0.1)._repr_html_()", ["la.PGD(eps=0.1)._repr_html_"]),
    ],
)
def test_the_rule_for_notebooks_finds_what_breaks_it(code, wrong):
    assert of_the_kit(code, {"PGD", "masks"}) == wrong


def test_the_rules_for_imports_find_what_breaks_them(tmp_path):
    sources = {
        "__init__": "from locadv_tf.units import eps_255",
        "units": "import math",
        "attacks.pgd": "from locadv_tf.attacks import balls\nfrom locadv_tf.units import eps_255",
        "attacks.balls": "def late():\n    from locadv_tf.attacks.pgd import PGD",
        "data.load": "from locadv_tf import attacks\nfrom locadv_tf.evaluation import challenge",
        "evaluation.challenge": "import locadv_tf.cli",
        "cli": "from locadv_tf.data.load import load_data",
    }
    kit = tmp_path / "locadv_tf"
    for name, source in sources.items():
        path = kit.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
        (path.parent / "__init__.py").touch()
    found = graph(kit)
    assert sorted(against_the_floors(found)) == [
        "locadv_tf.data.load imports locadv_tf.evaluation.challenge",
        "locadv_tf.evaluation.challenge imports locadv_tf.cli",
    ]
    assert circles(found) == sorted(
        f"locadv_tf.{name}" for name in ("attacks.balls", "attacks.pgd", "cli", "data.load", "evaluation.challenge")
    )
