"""The documentation names every command, option, route, setting, export, error code, key and make target there is."""

import json
import re
from pathlib import Path

import pytest

from convert.cli import featherweight
from convert.dtypes import Dtype
from convert.families import FAMILIES
from webapp import DEFAULTS, create_app

ROOT = Path(__file__).parent.parent


def text(name: str) -> str:
    return (ROOT / name).read_text()


def commands() -> list[str]:
    import click

    return featherweight.list_commands(click.Context(featherweight))


@pytest.mark.parametrize("name", ["convert", "eval", "fit", "inspect", "serve", "verify"])
def test_cli_names_every_option(name: str) -> None:
    import click

    command = featherweight.get_command(click.Context(featherweight), name)
    assert command is not None
    section = text("docs/cli.md").split(f"## `featherweight {name}")[1].split("\n## ")[0]
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert any(f"`{option}`" in section for option in parameter.opts), parameter.opts


def test_cli_names_every_command_dtype_and_family() -> None:
    assert set(commands()) == {"convert", "eval", "fit", "inspect", "serve", "verify"}
    for name in (*Dtype, *FAMILIES):
        assert f"`{name}`" in text("docs/cli.md")


def test_http_names_every_route_and_setting(tmp_path: Path) -> None:
    app = create_app({"MODELS_DIR": tmp_path})
    for rule in app.url_map.iter_rules():
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            assert f"`{method} {rule.rule}`" in text("docs/http.md"), rule.rule
    for setting in DEFAULTS:
        assert f"`{setting}`" in text("docs/http.md"), setting


def test_browser_names_every_export_and_error_code() -> None:
    source = text("static/featherweight.js")
    exported = re.findall(r"^export (?:async )?(?:function|class) (\w+)", source, re.MULTILINE)
    for group in re.findall(r"^export \{([^}]+)\}", source, re.MULTILINE):
        exported += [name.strip() for name in group.split(",")]
    assert {"probeDevice", "fit", "loadModel"} <= set(exported)
    for name in exported:
        assert f"`{name}" in text("docs/browser.md"), name
    codes = re.findall(r'"(\w+)"', text("static/errors.js").split("@typedef {")[1].split("} ErrorCode")[0])
    assert len(codes) >= 9
    for code in codes:
        assert f"`{code}`" in text("docs/browser.md"), code


def test_model_directory_names_every_manifest_key() -> None:
    schema = json.loads(text("convert/manifest/manifest.schema.json"))
    keys = [*schema["properties"], *schema["$defs"]["model"]["properties"], *schema["$defs"]["variant"]["properties"]]
    for key in keys:
        assert f"`{key}`" in text("docs/model_directory.md"), key


def test_readme_names_every_make_target_and_links_to_files_that_exist() -> None:
    targets = re.search(r"^\.PHONY: (.+)$", text("Makefile"), re.MULTILINE)
    assert targets
    for target in targets[1].split():
        assert f"make {target}" in text("README.md"), target
    for name in ("README.md", "ARCHITECTURE.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))):
        for link in re.findall(r"\]\(([^)#:]+)\)", text(name)):
            assert ((ROOT / name).parent / link).exists(), f"{name} links to {link}"


def test_architecture_names_every_folder_of_the_pipeline() -> None:
    folders = [f"convert/{path.name}/" for path in (ROOT / "convert").iterdir() if (path / "__init__.py").exists()]
    folders += [
        f"static/{path.name}/" for path in (ROOT / "static").iterdir() if path.is_dir() and any(path.glob("*.js"))
    ]
    for folder in folders:
        name = "commands/" if folder == "convert/commands/" else folder
        assert f"`{name}`" in text("ARCHITECTURE.md"), folder


def test_quality_tables_are_those_that_were_measured() -> None:
    from benchmarks import quality

    stored = json.loads(quality.STORED.read_bytes())
    assert quality.render(stored) in text("docs/quality.md")
    for model in quality.COLUMNS:
        assert [(row["dtype"], row["how"]) for row in stored["models"][model]] == quality.keys(model)
