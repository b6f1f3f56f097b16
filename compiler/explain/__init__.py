"""Explains a workflow: what runs where, after what, beside what, and what happens when it fails."""

from __future__ import annotations

from compiler.explain.explanation import ExplainedStep, ExplainedUnit, Explanation, Way, explain_workflow
from compiler.explain.mermaid import as_mermaid
from compiler.explain.text import as_text

__all__ = ["ExplainedStep", "ExplainedUnit", "Explanation", "Way", "as_mermaid", "as_text", "explain_workflow"]
