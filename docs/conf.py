"""How Sphinx builds the site: `make docs`, warnings are errors."""

import hf_affscore

project = "hf_affscore"
author = "the hf_affscore developers"
version = release = hf_affscore.__version__
html_title = f"hf_affscore {version}"
html_theme = "furo"
html_copy_source = html_show_copyright = False
html_static_path = html_css_files = ["style.css"]
html_extra_path = ["llms.txt"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3  # links to headings, as GitHub makes them

autodoc_typehints = "description"  # signatures of thirty options are unreadable with their types
autodoc_typehints_description_target = "documented_params"
autodoc_member_order = "bysource"

# Names of this package have to be found; those of others cannot be looked up without a network.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!hf_affscore).*"), ("py:class", r".*\.Target")]  # a type variable
