"""`ckptaudit rules`: the list of rules."""

from __future__ import annotations

import json
import sys

import click

from ckptaudit.audit import GROUPS
from ckptaudit.cli.options import say
from ckptaudit.rules import load


@click.command("rules")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
def command(form: str) -> None:
    """List the rules by group, each with what it tells."""
    rules = load()
    if form == "json":
        rows = [{"rule": rule.name, "group": rule.group, "summary": rule.summary} for rule in rules]
        sys.stdout.write(json.dumps({"schema": "ckptaudit.rules/1", "rules": rows}, indent=1) + "\n")
        return
    width = max(len(rule.name) for rule in rules)
    for group in GROUPS:
        lines = [f"  {rule.name:{width}}  {rule.summary}" for rule in rules if rule.group == group]
        say("\n".join([group, *(lines or ["  no rule yet"])]))
