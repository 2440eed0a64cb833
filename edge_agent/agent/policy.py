"""The policy that holds at this site: taken from the command centre, kept, obeyed at once. Main thread."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from edge_agent.agent import policy_file
from edge_agent.agent.policy_file import Kept
from edge_agent.events import Fact
from edge_agent.health.policy import Demand, demand
from edge_agent.uplink.facts import CommandRefused, PolicyArrived
from edge_agent.uplink.messages import Lifecycle, ReplyData
from edge_agent.uplink.policy import Policy, PolicyRefused

if TYPE_CHECKING:
    from edge_agent.agent.owner import Owner

log = logging.getLogger(__name__)

OPERATION = "policy"  # what replies and leaves call it


class PolicyDesk:
    """`demand` is what holds now; it changes without a restart, and `changed` is called then."""

    def __init__(self, owner: Owner, changed: Callable[[], None]) -> None:
        self._owner = owner
        self._changed = changed
        config = owner.parts.config
        self._verifier = policy_file.verifier(config)
        self._kept = policy_file.load(config)
        self._on_disk = self._kept is not None
        self.demand: Demand = policy_file.demand_of(config, self._kept)
        self.reactions: dict[type[Fact], Callable[..., None]] = {PolicyArrived: self._arrived}

    def status(self) -> dict[str, Any]:
        kept = self._kept
        return {
            "version": kept.policy.version if kept else 0,
            "operator": kept.policy.operator if kept else "",
            "required_days": self.demand.required_days,
        }

    def _arrived(self, fact: PolicyArrived) -> None:
        """Retained: the same one comes with every connection. An empty one only clears the broker's copy."""
        known = self._kept
        if not fact.payload:
            return
        if known is not None and fact.payload == known.signed:
            self._keep(known)
            return
        try:
            policy, kid = self._verifier.verify(fact.payload, newer_than=known.policy.version if known else 0)
        except PolicyRefused as refusal:
            self._refuse(fact, refusal)
            return
        self._obey(Kept(policy, kid, fact.payload))

    def _obey(self, kept: Kept) -> None:
        policy = kept.policy
        self._kept, self._on_disk = kept, False
        self.demand = demand(self._owner.parts.config, policy.policy, policy.version)
        log.info("policy %d of %s holds from now on", policy.version, policy.operator)
        self._owner.journal.policy(leaf(kept))
        self._keep(kept)
        self._changed()
        self._owner.link.reply(
            ReplyData(
                command=policy.id, op=OPERATION, status=Lifecycle.DONE, result={"version": policy.version}
            )
        )

    def _keep(self, kept: Kept) -> None:
        if self._on_disk:
            return
        self._on_disk = True
        directory = self._owner.parts.config.state.directory
        self._owner.parts.chores.ask(
            lambda: policy_file.save(directory, kept.signed), lambda _: None, self._not_kept
        )

    def _not_kept(self, reason: str) -> None:
        """It holds all the same; it is written when the broker repeats it."""
        self._on_disk = False
        log.error("the policy holds, but cannot be kept: %s", reason)

    def _refuse(self, fact: PolicyArrived, refusal: PolicyRefused) -> None:
        log.warning("policy refused: %s", refusal)
        policy = refusal.policy
        told = CommandRefused(
            fact.at, refusal.code, str(refusal), refusal.kid,
            policy.operator if policy else "", OPERATION, policy.id if policy else "",
        )  # fmt: skip
        self._owner.link.refused(told)


def leaf(kept: Kept) -> dict[str, Any]:
    """The data of a `policy` leaf: whose, for whom, and a digest by which the text itself can be proved."""
    policy: Policy = kept.policy
    return {
        "version": policy.version,
        "id": policy.id,
        "operator": policy.operator,
        "reason": policy.reason,
        "kid": kept.kid,
        "for": policy.site or policy.group,
        "sha256": policy_file.digest(kept.signed),
    }
