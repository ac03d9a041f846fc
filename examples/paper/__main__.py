"""All experiments, one after the other; or, with ``--docs``, their values into ``docs/paper.md``."""

from __future__ import annotations

from examples.paper.common import arguments, perform
from examples.paper.page import EXPERIMENTS, PAGE, module, written


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument(
        "--docs", action="store_true", help="run nothing; write docs/paper.md from the JSON files"
    )
    options = parser.parse_args()
    if options.docs:
        PAGE.write_text(written(PAGE.read_text(), options.output))
        print(PAGE)
        return
    for name in EXPERIMENTS:
        values = perform(module(name), options.output, quick=options.quick, mobilenet=options.mobilenet)
        print(f"{name}\n\n{module(name).markdown(values)}", flush=True)


if __name__ == "__main__":
    main()
