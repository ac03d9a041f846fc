"""``push`` and ``card``: a saved signature goes to the Hub."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_push(commands: Any) -> None:
    """Add ``push`` to the commands."""
    command = commands.add_parser(
        "push",
        help="add a saved signature to a data set repository on the Hub",
        description="Add a saved signature to a collection on the Hub, in one commit. "
        "What is there already is not committed again.",
    )
    _add_target(command, "REPO", "data set repository, made if missing: user/signatures")
    command.add_argument(
        "--private", action=argparse.BooleanOptionalAction, help="make a new repository private, or public"
    )
    command.add_argument("--create-pr", action="store_true", help="open a pull request instead of committing")
    command.set_defaults(run=_run_push)


def add_card(commands: Any) -> None:
    """Add ``card`` to the commands."""
    command = commands.add_parser(
        "card",
        help="show a saved signature in the model's card on the Hub",
        description="Put picture, table and meaning into a section of the model's card; the rest of it stays.",
    )
    _add_target(command, "MODEL", "model repository on the Hub; none with --local", optional=True)
    command.add_argument(
        "--local",
        type=Path,
        metavar="FILE",
        help="update a card on this machine, such as README.md, instead of one on the Hub",
    )
    command.add_argument(
        "--force",
        action="store_true",
        help="write it even if the signature is of another model, of other weights, or of images that the card "
        "does not name",
    )
    command.add_argument(
        "--create-pr",
        action=argparse.BooleanOptionalAction,
        help="open a pull request; default: only if the model is not yours",
    )
    command.add_argument(
        "--model-index", action="store_true", help="add the median to the card's model-index"
    )
    command.add_argument("--dry-run", action="store_true", help="change nothing, print the difference")
    command.set_defaults(run=_run_card)


def _add_target(command: argparse.ArgumentParser, metavar: str, help: str, *, optional: bool = False) -> None:
    """What every command that writes to the Hub takes."""
    command.add_argument(
        "folder", type=Path, metavar="FOLDER", help="where analyze --output saved the signature"
    )
    command.add_argument("repo_id", nargs="?" if optional else None, metavar=metavar, help=help)
    command.add_argument("--token", help="access token for the Hub; default: the one you logged in with")
    command.add_argument("--revision", help="branch to commit to (default: main)")
    command.add_argument("--commit-message", metavar="TEXT", help="first line of the commit")


def _run_push(arguments: argparse.Namespace) -> None:
    from hf_affscore.signature import Signature

    commit = Signature.from_pretrained(arguments.folder).push_to_hub(
        arguments.repo_id,
        private=arguments.private,
        token=arguments.token,
        revision=arguments.revision,
        create_pr=arguments.create_pr,
        commit_message=arguments.commit_message,
    )
    print(commit.pr_url or commit.commit_url)


def _run_card(arguments: argparse.Namespace) -> None:
    from hf_affscore.errors import InputError
    from hf_affscore.publish import update_local_card, update_model_card
    from hf_affscore.signature import Signature

    if (arguments.repo_id is None) == (arguments.local is None):
        raise InputError("Expected either a model on the Hub or --local FILE, to say which card is meant.")
    signature = Signature.from_pretrained(arguments.folder)
    if arguments.local is not None:
        update = update_local_card(
            signature,
            arguments.local,
            with_model_index=arguments.model_index,
            force=arguments.force,
            dry_run=arguments.dry_run,
        )
    else:
        update = update_model_card(
            signature,
            arguments.repo_id,
            create_pr=arguments.create_pr,
            with_model_index=arguments.model_index,
            force=arguments.force,
            dry_run=arguments.dry_run,
            token=arguments.token,
            revision=arguments.revision,
            commit_message=arguments.commit_message,
        )
    print(update.diff if arguments.dry_run else update.url or arguments.local)
