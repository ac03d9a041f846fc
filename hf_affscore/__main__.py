"""``python -m hf_affscore``: the same as the ``hf-affscore`` command."""

from hf_affscore.cli import main

if __name__ == "__main__":
    main()
