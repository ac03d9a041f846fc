"""The libraries that write checkpoints, a small file for each.

What the design has to meet:

- A checkpoint is recognised by its files, before the library that wrote it is imported.
- A library that is not installed costs nothing until one of its checkpoints is asked for, and is then named with
  the line that installs it.
- What is loaded is one commit, and what the library itself would load from it by its own means.
- A network can be made without its weights, on any device, drawn as the library itself draws it.
- Others add a library without a change here, by an entry point in the group ``hf_affscore.libraries``.

:mod:`~hf_affscore.models.libraries.registry` is the table, :mod:`~hf_affscore.models.libraries.library` says what a
library has to answer. No file here imports another library's, except those whose checkpoints are another's inside
(adapters of PEFT, models of sentence-transformers).
"""
