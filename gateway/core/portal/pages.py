"""The pages of the portal, by the names that links use."""

from enum import StrEnum


class PortalPage(StrEnum):
    """A page of the portal that a link can show; without a choice it shows all."""

    OVERVIEW = "overview"
    JOBS = "jobs"
    DELIVERIES = "deliveries"
    ENDPOINTS = "endpoints"
    EVENTS = "events"
    USAGE = "usage"
