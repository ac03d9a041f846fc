"""Reports of a comparison: one page for a browser, or a folder of files (:mod:`.folder`)."""

from hf_affscore.report.html import render_report, write_report

__all__ = ["render_report", "write_report"]
