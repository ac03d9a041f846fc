"""``skill install``: what coding assistants read about this package, where they look for it."""

from __future__ import annotations

import argparse
from importlib.resources import files
from pathlib import Path
from typing import Any

#: Folder of the skill below the target, as its own ``name`` says.
NAME = "hf-affscore"

#: Where Claude Code looks for skills in a project.
TARGET = Path(".claude/skills")


def add_skill(commands: Any) -> None:
    """Add ``skill install`` to the commands."""
    command = commands.add_parser(
        "skill",
        help="what coding assistants read about this package",
        description="Put SKILL.md and llms.txt of this version where coding assistants look for them.",
    )
    actions = command.add_subparsers(title="actions", metavar="ACTION", required=True)
    install = actions.add_parser(
        "install",
        help="put SKILL.md and llms.txt where assistants look",
        description=f"Write {NAME}/SKILL.md and {NAME}/llms.txt into a folder of skills.",
    )
    install.add_argument(
        "--target",
        type=Path,
        default=TARGET,
        metavar="FOLDER",
        help="folder of skills: ~/.claude/skills for all projects, .agents/skills for other assistants "
        f"(default: {TARGET}, in this project)",
    )
    install.add_argument("--force", action="store_true", help="replace files that have another content")
    install.set_defaults(run=_run_skill_install)


def _run_skill_install(arguments: argparse.Namespace) -> None:
    print(install_skill(arguments.target, force=arguments.force))


def install_skill(target: Path, *, force: bool = False) -> Path:
    """Write the two files into ``target/hf-affscore``; files with the same content are left alone.

    Raises:
        InputError: A file is there with another content, or the folder cannot be written to.
    """
    from hf_affscore.errors import InputError
    from hf_affscore.storage import write_atomically

    folder = target.expanduser() / NAME
    try:
        for path, content in ((folder / name, content) for name, content in _contents().items()):
            if path.exists() and path.read_bytes() != content and not force:
                raise InputError(
                    f"{path} is there with another content: yours, or that of another version. It was left as it "
                    "is; --force replaces it."
                )
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in _contents().items():
            write_atomically(folder / name, content)
    except OSError as error:
        raise InputError(
            f"The skill could not be written to {folder}: {error.strerror or error}. Name another folder with "
            "--target."
        ) from error
    return folder / "SKILL.md"


def _contents() -> dict[str, bytes]:
    """The files by name. Here llms.txt lies beside SKILL.md; in the repository it is in ``docs``."""
    folder = files("hf_affscore.assets").joinpath("skill")
    skill = folder.joinpath("SKILL.md").read_bytes().replace(b"docs/llms.txt", b"llms.txt")
    return {"SKILL.md": skill, "llms.txt": folder.joinpath("llms.txt").read_bytes()}
