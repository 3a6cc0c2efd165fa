"""What the documentation says is there: commands compose, links and anchors lead somewhere, paths and names exist."""

import re
import tomllib
from datetime import date

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from lightning_modules.tasks.settings import check_settings
from tests.house.test_recipes import COMMANDS as RECIPES
from tests.made.pages import PAGES, ROOT, RUN, anchors, blocks, links, run_lines, sections, spans, swept, text_of

README, CONF = ROOT / "README.md", ROOT / "conf"
PACKAGES = {path.parent.name for path in ROOT.glob("*/__init__.py")}
PLACES = (*PACKAGES, "conf", "docs", ".ci", ".github")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# In words and tables a command is what begins with one of these and goes on; the changelog names what is gone.
WHOLE = re.compile(r"(?:-m )?(?:experiment|sweep|task)=\S+(?: [~+]?[\w./]+=\S+)+")
TYPED = re.compile(r"\.\.\.|(?:cohort|sweep)=(?:NAME|my_hospital)")  # to be filled in


def commands_of(page):
    """What a page tells to type; commands of recipes need the files that stand above them: test_recipes runs both."""
    in_words = [span for span in spans(page) if WHOLE.fullmatch(span) and page.name != "CHANGELOG.md"]
    return {line for line in (*run_lines(page), *in_words) if line not in RECIPES and not TYPED.search(line)}


READ_FIRST = {line for page in PAGES if page.parent in (ROOT, ROOT / "docs") for line in commands_of(page)}
RESULTS = {line for page in PAGES for line in commands_of(page)} - READ_FIRST
LINES = [*sorted(READ_FIRST), *(pytest.param(line, marks=pytest.mark.slow) for line in sorted(RESULTS))]
# Lines of code blocks that are no `python run.py`; their extras and modules are looked for below.
SHELL = ("pip install", "pre-commit", "pytest", "ruff", "pyright", "python -m ", "python3 -m venv", ". .venv/")
SHELL += ("nnUNetv2_", "export nnUNet_")  # tests/lightning_modules/test_nnunet_export.py runs them
DRAWN = "─"  # a picture of characters
TREES = {("README.md", "Map"), ("house.md", "Rooms")}


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def test_the_readme_is_a_page():
    assert len(text_of(README).splitlines()) <= 150
    assert len(text_of(ROOT / "CONTRIBUTING.md").splitlines()) <= 50
    assert 'pip install -e ".[test]" && pytest\n' in text_of(README), ".ci/run types this line"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_and_their_anchors_exist(page):
    for target in links(page):
        path, _, anchor = target.partition("#")
        if "://" in path:
            continue
        assert (page.parent / path).exists(), target
        if anchor:
            assert anchor in anchors((page.parent / path).resolve() if path else page), target


def test_every_page_is_reached_from_the_readme():
    reached, ahead = set(), [README]
    while ahead:
        page = ahead.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        ahead += [(page.parent / target.partition("#")[0]).resolve() for target in links(page) if "://" not in target]
    assert set(PAGES) <= reached


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_code_block_is_of_a_kind_that_is_run_or_checked(page):
    """Commands compose (below); files of recipes and the notebook's lines are run (test_recipes); trees are read."""
    trees = {text for name, title in TREES if page.name == name for text in _fences_below(page, title)}
    for block in blocks(page):
        if block.language in ("python", "yaml"):
            assert page.parent.name == "docs", "test_recipes runs what is in docs/"
        elif block.text not in trees and DRAWN not in block.text:
            assert block.language == ""
            for line in block.text.splitlines():
                assert all(part.strip().startswith((RUN, *SHELL)) for part in line.split("&&")), line


def _fences_below(page, title):
    _, _, after = text_of(page).partition(f"## {title}\n")
    return re.findall(r"^```\n(.*?)^```$", after, re.MULTILINE | re.DOTALL)[:1]


GROUPS = {path.relative_to(CONF).as_posix() for path in CONF.rglob("*") if path.is_dir()}


@pytest.mark.parametrize("line", LINES)
def test_a_command_composes(line):
    """Whatever settings and choices it names are there, and of the kind that they should be."""
    values = swept(line)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", overrides=["output=DIR", *(own[0] for own in values)])
    check_settings(config)
    for group, _, choice in (each.partition("=") for own in values for each in own[1:]):
        assert group not in GROUPS or (CONF / group / f"{choice}.yaml").exists(), f"{group}={choice}"


def test_the_commands_of_the_documentation_are_found():
    assert {"", "sweep=bs_esnet_table1", "task=predict input=SCANS output=DIR"} <= READ_FIRST
    assert len(LINES) > 40
    assert swept("-m a=1,2 b='range(2)' c=x") == [["a=1", "a=2"], ["b=0", "b=1"], ["c=x"]]


CHOICE = re.compile(r"`(?:[^`\n]*\s)?(?P<group>[\w/]+)=(?P<first>\w+)`(?P<more>(?:(?:,| and| or|, or) `\w+`)*)")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_choices_in_words_are_files(page):
    """`experiment=unet`, `scarnet`: each is a file of its group; DIR and NAME stand for what one types."""
    for match in CHOICE.finditer(text_of(page)):
        if match["group"] in GROUPS:
            for choice in (match["first"], *re.findall(r"`(\w+)`", match["more"])):
                if not choice.isupper() and choice != "my_hospital":
                    assert (CONF / match["group"] / f"{choice}.yaml").exists(), f"{match['group']}={choice}"


@pytest.fixture(scope="module")
def settings():
    """Those of the default run."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", overrides=["output=DIR"])


def test_settings_in_words_begin_with_a_node_that_is_there(settings):
    known = {str(key) for key in settings} | GROUPS | {"hydra"}
    for path in (ROOT / "conf" / "experiment").glob("*.yaml"):  # one may have a setting of its own, as sims has points
        known |= {str(key) for key in OmegaConf.load(path)}
    pages = [page for page in PAGES if page.name != "CHANGELOG.md"]  # which names what is gone
    found = {setting for page in pages for span in spans(page) for setting in re.findall(r"^([a-z][\w./]*)=", span)}
    wrong = {name for name in found if re.split(r"[./]", name)[0] not in known and name not in known}
    assert wrong == set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_paths_and_names_in_backticks_exist(page, settings):
    for span in spans(page):
        if re.fullmatch(rf"(?:{'|'.join(map(re.escape, PLACES))})/[\w./*-]*|run\.py", span):
            assert list(ROOT.glob(span.rstrip("/"))), span
        elif re.fullmatch(rf"(?:{'|'.join(PACKAGES)})(?:\.[A-Za-z_]\w*)+(?:\(.*\))?", span):
            name = span.partition("(")[0]
            known = span.endswith((".csv", ".md")) or OmegaConf.select(settings, name) is not None
            assert known or page.name == "CHANGELOG.md" or _is_defined(name.split(".")), span


def _is_defined(parts):
    """Whether a dotted name is a package, a module, or something that a module defines or imports."""
    path = ROOT
    for place, part in enumerate(parts):
        if (path / part).is_dir():
            path = path / part
            continue
        file, rest = path / f"{part}.py", parts[place + 1 :]
        if not file.exists():
            file, rest = path / "__init__.py", parts[place:]
        return file.exists() and (not rest or re.search(rf"\b{rest[0]}\b", file.read_text()) is not None)
    return True


def test_extras_and_modules_that_pages_name_exist():
    for page in PAGES:
        for names in re.findall(r'"\.\[([\w,]+)\]"', text_of(page)):
            assert set(names.split(",")) <= set(PROJECT["optional-dependencies"]), page
        for module in re.findall(r"python -m ((?:benchmarks|reports)[\w.]+)", text_of(page)):
            assert (ROOT / f"{module.replace('.', '/')}.py").exists(), module


def test_pages_that_sources_name_exist():
    sources = [path for place in (*PACKAGES, "conf") for path in (ROOT / place).rglob("*.*")]
    for path in (each for each in sources if each.suffix in (".py", ".yaml")):
        for name in re.findall(r"\b(?:docs|models)/[\w/]+\.md\b", path.read_text()):
            assert (ROOT / name).exists(), f"{path}: {name}"


def test_one_version_and_one_date():
    citation = OmegaConf.load(ROOT / "CITATION.cff")
    head = re.search(r"^## (\S+) \((\S+)\)$", text_of(ROOT / "CHANGELOG.md"), re.MULTILINE)
    assert head is not None
    assert (citation.version, str(citation["date-released"])) == head.groups()
    assert (PROJECT["version"], PROJECT["license"]) == (citation.version, citation.license)
    assert date.fromisoformat(head[2]) <= date.today()
    dois = {reference.get("doi") for reference in citation.references} - {None}
    assert dois == set(re.findall(r"doi (\S+)", text_of(README)))
    assert len(citation.references) == len(re.findall(r"^\* \*\*", sections(README)["Cite"], re.MULTILINE))


def test_the_workflow_tests_the_versions_that_are_allowed():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yaml").read_text())
    versions = workflow["jobs"]["tests"]["strategy"]["matrix"]["python-version"]
    assert PROJECT["requires-python"] == f">={versions[0]}"
    steps = [step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"]]
    assert {".ci/run", "pytest"} <= set(steps)
    assert any("--resolution lowest-direct" in step for step in steps)
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert [hook["entry"].split()[:2] for hook in hooks] == [["ruff", "check"], ["ruff", "format"]]
