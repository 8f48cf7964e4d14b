"""Layered settings for what the real service does not document or may change."""

from typing import Any, Literal, cast

import msgspec

from gateway.simulator.jobs.plans import Plan

Layer = Literal["global", "workflow", "key"]
Partial = dict[str, Any]
MOST_KEPT_PLANS = 1024


class Behaviour(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """Every setting with its default; docs/simulator.md describes each."""

    plan: Plan = Plan()
    list_order: Literal["asc", "desc"] = "desc"
    max_page_size: int | None = None
    list_lag_seconds: float = 0.0
    workflow_envelope: Literal["object", "array"] = "object"
    shape: Literal["auto", "gen0", "gen1", "gen2", "current"] = "auto"
    omit_keys: tuple[str, ...] = ()
    extra_fields: dict[str, Any] = {}
    show_status: str | None = None
    unknown_workflow: Literal["accept"] | int = 400
    require_name: bool = False
    concurrency_limit: int | None = None
    concurrency_policy: Literal["queue", "refuse"] = "queue"
    upload_expiry_seconds: float = 3600.0
    download_expiry_seconds: float = 172_800.0
    result_expiry_seconds: float = 172_800.0
    result_refresh: bool = True
    expired_status: Literal[403, 404] = 403
    copy_failure: Literal["fail", "succeed"] = "fail"
    input_check: Literal["own", "fetch", "off"] = "own"


def merge(base: Partial, over: Partial) -> Partial:
    """Merge `over` into `base`; plans are merged field by field."""
    merged = {**base, **over}
    if "plan" in base and "plan" in over:
        merged["plan"] = {**base["plan"], **over["plan"]}
    return merged


def overlay(behaviour: Behaviour, over: Partial) -> Behaviour:
    """Raises msgspec.ValidationError naming the field that does not fit."""
    return msgspec.convert(merge(as_partial(behaviour), over), Behaviour)


def as_partial(behaviour: msgspec.Struct) -> Partial:
    return cast("Partial", msgspec.to_builtins(behaviour))


class Layers:
    """Settings in three layers: global, by workflow, by key; the later layer wins."""

    def __init__(self) -> None:
        self._partials: dict[tuple[Layer, str], Partial] = {}
        self._resolved: dict[tuple[str, str], Behaviour] = {}
        self._plans: dict[tuple[str, str, bytes], Plan] = {}

    def set(self, layer: Layer, name: str, partial: Partial) -> None:
        """Merges into one layer; an invalid value changes nothing and raises ValidationError."""
        merged = merge(self._partials.get((layer, name), {}), partial)
        msgspec.convert(merged, Behaviour)
        self._partials[layer, name] = merged
        self._resolved.clear()
        self._plans.clear()

    @staticmethod
    def check(partial: Partial) -> None:
        """Raises ValidationError naming the field that does not fit."""
        overlay(Behaviour(), partial)

    def dump(self) -> dict[str, Partial]:
        return {f"{layer}:{name}": value for (layer, name), value in self._partials.items()}

    def resolve(self, key: str, workflow: str = "") -> Behaviour:
        known = self._resolved.get((key, workflow))
        if known is None:
            known = self._resolved[key, workflow] = self._merge(key, workflow)
        return known

    def plan(self, base: Behaviour, key: str, workflow: str, script: bytes) -> Plan:
        """Return the plan of a job whose params contain `script` (JSON); repeated scripts are cached."""
        place = (key, workflow, script)
        is_cacheable = base is self.resolve(key, workflow)
        if is_cacheable and place in self._plans:
            return self._plans[place]
        over = msgspec.json.decode(script, type=dict[str, Any])
        plan = msgspec.convert({**as_partial(base.plan), **over}, Plan)
        if is_cacheable and len(self._plans) < MOST_KEPT_PLANS:
            self._plans[place] = plan
        return plan

    def _merge(self, key: str, workflow: str) -> Behaviour:
        order: list[tuple[Layer, str]] = [("global", ""), ("workflow", workflow), ("key", key)]
        merged: Partial = {}
        for place in order:
            merged = merge(merged, self._partials.get(place, {}))
        return msgspec.convert(merged, Behaviour)
