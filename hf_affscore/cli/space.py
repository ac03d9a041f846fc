"""``space push``: the gallery as a Space."""

from __future__ import annotations

import argparse
from typing import Any


def add_space(commands: Any) -> None:
    """Add ``space push`` to the commands."""
    command = commands.add_parser(
        "space",
        help="a gallery of your signatures, as a Space on the Hub",
        description="Publish the gallery: a page that shows a collection of signatures to everybody.",
    )
    actions = command.add_subparsers(title="actions", metavar="ACTION", required=True)
    push = actions.add_parser(
        "push",
        help="push the gallery to a Space of yours",
        description="Push the gallery to a Space, in one commit.",
    )
    push.add_argument("space", metavar="SPACE", help="the Space, made if missing: user/gallery")
    push.add_argument(
        "--signatures", required=True, metavar="REPO", help="the collection it shows: user/signatures"
    )
    push.add_argument(
        "--sdk",
        choices=("static", "gradio"),
        default="static",
        help="static: a page made now; gradio: a server that reads public collections, which needs a paid account "
        "(default: static)",
    )
    push.add_argument(
        "--private", action=argparse.BooleanOptionalAction, help="make a new Space private, or public"
    )
    push.add_argument("--token", help="access token for the Hub; default: the one you logged in with")
    push.set_defaults(run=_run_space_push)


def _run_space_push(arguments: argparse.Namespace) -> None:
    from hf_affscore.spaces.push import push_gallery

    print(
        push_gallery(
            arguments.space,
            arguments.signatures,
            sdk=arguments.sdk,
            private=arguments.private,
            token=arguments.token,
        )
    )
