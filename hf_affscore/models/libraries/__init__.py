"""The libraries that write checkpoints, one small file each.

Requirements:

- A checkpoint is recognised by its files, before the library that wrote it is imported.
- A library that is not installed costs nothing until one of its checkpoints is loaded; the error then has the
  command that installs it.
- All files come from one commit, and the network is the same as the library itself would load.
- A network can be built without its weights, on any device, with the library's own initialisation.
- Other packages add a library by an entry point in the group ``hf_affscore.libraries``, without a change here.

:mod:`~hf_affscore.models.libraries.registry` is the table of libraries;
:mod:`~hf_affscore.models.libraries.library` defines their interface. No file here imports that of another library,
except if its checkpoints contain those of the other library (adapters of PEFT, models of sentence-transformers).
"""
