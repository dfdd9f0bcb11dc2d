"""`ckptaudit explain RULE`: the page of a rule."""

from __future__ import annotations

import click

from ckptaudit.cli.options import WRONG_USAGE, complain, say
from ckptaudit.errors import CkptAuditError
from ckptaudit.gate import check_name
from ckptaudit.rules import RULES, find, load


@click.command("explain")
@click.argument("rule", metavar="RULE")
@click.pass_context
def command(ctx: click.Context, rule: str) -> None:
    """Show what a rule finds, why that matters, and what to do. RULE may be a group: its rules are listed."""
    try:
        check_name(rule)
    except CkptAuditError as error:
        complain(str(error))
        ctx.exit(WRONG_USAGE)
    if rule in RULES:
        found = find(rule)
        say(f"{found.name} ({found.group})\n\n{found.page}")
        return
    for each in load():
        if each.group == rule:
            say(f"{each.name}: {each.summary}")
