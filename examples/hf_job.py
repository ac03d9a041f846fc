# /// script
# requires-python = ">=3.11"
# dependencies = ["hf-affscore[plots]"]
#
# [tool.hf-jobs]
# flavor = "a10g-small"
# timeout = "2h"
# secrets = ["HF_TOKEN"]
# ///
"""Analyse one checkpoint on one data set and publish the signature: a script for Hugging Face Jobs.

hf jobs uv run examples/hf_job.py MODEL DATASET user/signatures
"""

import sys

import hf_affscore as ha


def main(model: str, dataset: str, collection: str | None = None) -> None:
    signature = ha.analyze(model, dataset)
    print(signature)
    if collection is not None:
        print(signature.push_to_hub(collection).commit_url)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(f"usage: {sys.argv[0]} MODEL DATASET [COLLECTION]")
    main(*sys.argv[1:])
