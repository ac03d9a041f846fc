"""The command ``hf-affscore metric``: its arguments; the actions are in ``install`` and ``publish``."""

from __future__ import annotations

import argparse
from typing import Any


def add_metric(commands: Any) -> None:
    """Add ``metric install`` and ``metric publish`` to the commands of the command line."""
    command = commands.add_parser(
        "metric",
        help='the metric of Hugging Face\'s evaluate: evaluate.load("affinity_signature")',
        description="Make the metric available to evaluate.load, here or to everybody.",
    )
    actions = command.add_subparsers(title="actions", metavar="ACTION", required=True)
    install = actions.add_parser(
        "install",
        help="let evaluate find the metric by name in every process, also offline",
        description="Let evaluate.load find the metric of this package by its name, also offline: write a small "
        "file that imports it into evaluate's module cache.",
    )
    install.set_defaults(run=_run_install)
    publish = actions.add_parser(
        "publish",
        help="push the metric to a Space of yours",
        description="Push the metric and its page to a Space, in one commit.",
    )
    publish.add_argument("space", metavar="USER/affinity_signature", help="the Space, made if there is none")
    publish.add_argument(
        "--sdk",
        choices=("static", "gradio"),
        default="static",
        help="static: a page that explains the metric; gradio: one that computes it, which needs a paid account "
        "(default: static)",
    )
    publish.add_argument("--private", action="store_true", default=None, help="make the Space private")
    publish.add_argument(
        "--token", help="access token with write access; default: the one you logged in with"
    )
    publish.set_defaults(run=_run_publish)


def _run_install(arguments: argparse.Namespace) -> None:
    from hf_affscore.metrics.install import install

    print(install())


def _run_publish(arguments: argparse.Namespace) -> None:
    from hf_affscore.metrics.publish import publish

    print(publish(arguments.space, sdk=arguments.sdk, private=arguments.private, token=arguments.token))
