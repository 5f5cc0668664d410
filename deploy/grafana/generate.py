#!/usr/bin/env python3
"""Makes the dashboards of this folder and that of `tenant`: `deploy/grafana/generate.py` writes them, with `--check` it
says whether they differ.

A dashboard is rows of panels; a panel is a title, what it tells, a unit and queries. What all of them share
(data source, variables, links, colours) is here once, so that a change of it is a change of one line.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "dashboards"
# Beside the others, not among them: what is in their folder is provisioned for the main organisation.
TENANT_FOLDER = Path(__file__).parent / "tenant-dashboards"
RUNBOOKS = "https://github.com/sluice-gateway/sluice/blob/main/docs/runbooks/"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
# Of the target: every query of ours has them.
TARGET = 'job=~"$job",instance=~"$instance"'
WEBHOOKS = 'route="/webhooks/{tenant}/{source}"'
LANE = f'{TARGET},tenant=~"$tenant",source=~"$source",vendor=~"$vendor"'
VENDOR = f'{TARGET},vendor=~"$vendor"'
CALLEE = f'{TARGET},callee=~"$callee"'
SITE = f'{TARGET},callee=~"wordpress:.*",callee=~"$callee"'
RATE = "[$__rate_interval]"
GOOD, ODD, BAD = "green", "orange", "red"


@dataclass(frozen=True)
class Query:
    """One query of a panel. `now`: only its last value, for stats and tables."""

    expr: str
    legend: str = ""
    now: bool = False
    table: bool = False


@dataclass(frozen=True)
class Panel:
    """One panel: `w` of 24 columns, `h` rows high."""

    kind: str
    title: str
    tells: str
    unit: str
    queries: tuple[Query, ...]
    w: int = 8
    h: int = 8
    runbook: str = ""
    stacked: bool = False
    steps: tuple[tuple[float | None, str], ...] = ((None, GOOD),)
    most: float | None = None
    least: float | None = 0
    words: tuple[tuple[str, str, str], ...] = ()
    decimals: int | None = None
    hidden: tuple[str, ...] = ()


@dataclass(frozen=True)
class Variable:
    """A variable whose values are those of a label."""

    name: str
    says: str
    query: str


@dataclass(frozen=True)
class Dashboard:
    """One file."""

    uid: str
    title: str
    tells: str
    rows: tuple[tuple[str, tuple[Panel, ...]], ...]
    variables: tuple[Variable, ...] = field(default=())
    # For a data source that has series of lanes and no others, where none of the other dashboards are.
    alone: bool = False


JOB = Variable("job", "Scrape job", "label_values(sluice_build_info, job)")
INSTANCE = Variable("instance", "Node", 'label_values(sluice_build_info{job=~"$job"}, instance)')
OF_LANE = 'job=~"$job"'
TENANT = Variable("tenant", "Tenant", f"label_values(sluice_lane_events_total{{{OF_LANE}}}, tenant)")
SRC = Variable("source", "Source", f'label_values(sluice_lane_events_total{{{OF_LANE},tenant=~"$tenant"}}, source)')
OF_VENDOR = Variable("vendor", "Vendor", f"label_values(sluice_webhook_events_total{{{OF_LANE}}}, vendor)")
OF_CALLEE = Variable("callee", "Callee", f"label_values(sluice_outbound_requests_total{{{OF_LANE}}}, callee)")
OF_SITE = Variable(
    "callee", "Site", f'label_values(sluice_outbound_requests_total{{{OF_LANE},callee=~"wordpress:.*"}}, callee)'
)


def lines(title: str, tells: str, unit: str, *queries: Query, **more: Any) -> Panel:
    return Panel("timeseries", title, tells, unit, queries, **more)


def stat(title: str, tells: str, unit: str, *queries: Query, **more: Any) -> Panel:
    shown = tuple(Query(query.expr, query.legend, now=True) for query in queries)
    return Panel("stat", title, tells, unit, shown, **{"w": 6, "h": 5, "least": None, **more})


def table(title: str, tells: str, unit: str, *queries: Query, **more: Any) -> Panel:
    shown = tuple(Query(query.expr, query.legend, now=True, table=True) for query in queries)
    return Panel("table", title, tells, unit, shown, **{"w": 12, "h": 9, "least": None, **more})


def states(title: str, tells: str, *queries: Query, **more: Any) -> Panel:
    return Panel("state-timeline", title, tells, "none", queries, **{"w": 24, "least": None, **more})


def quantiles(metric: str, labels: str, by: str = "", legend: str = "") -> tuple[Query, ...]:
    """The median, the 95th and the 99th percentile of a histogram."""
    grouped = f"le, {by}" if by else "le"
    return tuple(
        Query(
            f"histogram_quantile({part}, sum by ({grouped}) (rate({metric}_bucket{{{labels}}}{RATE})))",
            f"{legend} {name}".strip(),
        )
        for part, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
    )


def p95(metric: str, labels: str, by: str, legend: str) -> Query:
    return Query(f"histogram_quantile(0.95, sum by (le, {by}) (rate({metric}_bucket{{{labels}}}{RATE})))", legend)


def rate(metric: str, labels: str, by: str, legend: str) -> Query:
    return Query(f"sum by ({by}) (rate({metric}{{{labels}}}{RATE}))", legend)


SLOS = (
    ("ack-success", "Answers without an error of ours"),
    ("ack-latency", "Deliveries answered within 250 ms"),
    ("job-start", "Jobs begun within 60 s"),
    ("job-success", "Jobs without a dead letter"),
)
OPEN = (("0", "closed", GOOD), ("1", "held", BAD))
LANES_BY = "tenant, source, vendor"

OVERVIEW = Dashboard(
    "sluice-overview",
    "Sluice: overview",
    "Whether the promises are kept, and what came, was answered and was done.",
    (
        (
            "Objectives over 30 days",
            tuple(
                stat(
                    f"Budget left: {slo}",
                    f"{what}: the part of the error budget of the chosen time that is left, by the mean of what was bad. "
                    "Below 0 the objective is missed.",
                    "percentunit",
                    Query(
                        f'1 - avg_over_time(slo:sli_error:ratio_rate5m{{slo="{slo}"}}[$__range]) '
                        f'/ on (slo) slo:error_budget:ratio{{slo="{slo}"}}',
                        slo,
                    ),
                    runbook="slo-burn.md",
                    steps=((None, BAD), (0, ODD), (0.25, GOOD)),
                    most=1,
                    decimals=1,
                )
                for slo, what in SLOS
            )
            + (
                lines(
                    "Burn, 1 hour",
                    "How many times faster than it may the budget is used: at 1 it lasts exactly 30 days; 14.4 pages.",
                    "none",
                    Query("slo:sli_error:ratio_rate1h / on (slo) slo:error_budget:ratio", "{{slo}}"),
                    w=12,
                    runbook="slo-burn.md",
                    steps=((None, GOOD), (1, ODD), (14.4, BAD)),
                ),
                table(
                    "Alerts that fire",
                    "What Prometheus says of this gateway now.",
                    "none",
                    Query('ALERTS{alertname=~"Sluice.+",alertstate="firing"}'),
                    runbook="README.md",
                    h=8,
                    hidden=("Time", "Value", "__name__", "alertstate", "job", "cluster"),
                ),
            ),
        ),
        (
            "Deliveries",
            (
                lines(
                    "Answers",
                    "Answers a second by status: 2xx taken, 4xx the sender's, 5xx ours.",
                    "reqps",
                    rate("sluice_http_requests_total", f"{TARGET},{WEBHOOKS}", "code", "{{code}}"),
                    stacked=True,
                ),
                lines(
                    "Time to the answer",
                    "From the last byte of a delivery to its answer; the commit is within it.",
                    "s",
                    *quantiles("sluice_webhook_ack_duration_seconds", TARGET),
                    runbook="slo-burn.md",
                    steps=((None, GOOD), (0.25, ODD), (2, BAD)),
                ),
                lines(
                    "Requests in flight",
                    "Requests that are being read or worked on, by route.",
                    "short",
                    Query(f"sum by (route) (sluice_http_requests_in_flight{{{TARGET}}})", "{{route}}"),
                ),
                lines(
                    "Refused connections",
                    "Connections a second that were closed before their first request: past a cap, past the proxy, without its header, without TLS.",
                    "cps",
                    rate("sluice_http_connections_refused_total", TARGET, "reason", "{{reason}}"),
                    runbook="throttled.md",
                    stacked=True,
                ),
                lines(
                    "Events",
                    "Events a second by what became of them.",
                    "eps",
                    rate("sluice_webhook_events_total", TARGET, "outcome", "{{outcome}}"),
                    stacked=True,
                ),
                lines(
                    "Refused and not taken",
                    "Deliveries a second that were refused or not taken, by reason.",
                    "reqps",
                    rate("sluice_webhook_rejections_total", TARGET, "reason", "{{reason}}"),
                    runbook="signature-failures.md",
                    stacked=True,
                ),
                lines(
                    "Size of deliveries",
                    "Bytes of bodies.",
                    "bytes",
                    *quantiles("sluice_http_request_size_bytes", f"{TARGET},{WEBHOOKS}"),
                ),
            ),
        ),
        (
            "Work",
            (
                lines(
                    "Jobs",
                    "Jobs a second: stored, and attempts that ended, by outcome.",
                    "ops",
                    Query(f"sum(rate(sluice_jobs_enqueued_total{{{TARGET}}}{RATE}))", "stored"),
                    rate("sluice_job_attempts_total", TARGET, "outcome", "{{outcome}}"),
                ),
                lines(
                    "Backlog",
                    "Jobs that are not over, and dead letters, of all lanes; the same at every node that shares the store.",
                    "short",
                    Query(
                        "sum by (state) (max by (tenant, source, vendor, state) "
                        f"(sluice_lane_queue_jobs{{{TARGET}}}))",
                        "{{state}}",
                    ),
                    runbook="queue.md",
                    stacked=True,
                ),
                lines(
                    "Wait of the oldest due job",
                    "Of the lane that waits longest.",
                    "s",
                    Query(f"max(sluice_lane_oldest_due_age_seconds{{{TARGET}}})", "oldest"),
                    runbook="queue.md",
                    steps=((None, GOOD), (60, ODD), (300, BAD)),
                ),
                lines(
                    "From job to success",
                    "From a job's creation to its success, waits and retries included.",
                    "s",
                    *quantiles("sluice_job_end_to_end_seconds", TARGET),
                ),
                lines(
                    "Dead letters",
                    "Jobs a second that will not be tried again by themselves, by reason, and those brought back.",
                    "ops",
                    rate("sluice_dead_letters_total", TARGET, "reason", "{{reason}}"),
                    Query(f"sum(rate(sluice_dead_letter_replays_total{{{TARGET}}}{RATE}))", "brought back"),
                    runbook="dead-letters.md",
                ),
                lines(
                    "Lanes",
                    "Lanes that are awake, by what they do; paused ones as well.",
                    "short",
                    # A lane is awake at the one node that owns it. A paused one is counted by every node that shares
                    # the store.
                    Query(f'sum by (status) (sluice_lanes{{{TARGET},status!="paused"}})', "{{status}}"),
                    Query(f'max by (status) (sluice_lanes{{{TARGET},status="paused"}})', "{{status}}"),
                    stacked=True,
                ),
            ),
        ),
    ),
)

LANES = Dashboard(
    "sluice-lanes",
    "Sluice: lanes",
    "Breakers, buckets, queues and ages of lanes, and whom they call.",
    (
        (
            "Who is in trouble",
            (
                table(
                    "Worst lanes by age",
                    "Lanes whose oldest job that is due waits longest, whatever it waits for. Past `limits.metric_lanes` good lanes are in `other`.",
                    "s",
                    Query(f"topk(20, max by ({LANES_BY}) (sluice_lane_oldest_due_age_seconds{{{LANE}}}))"),
                    runbook="queue.md",
                    steps=((None, GOOD), (60, ODD), (300, BAD)),
                    hidden=("Time",),
                ),
                table(
                    "Most jobs waiting",
                    "Lanes with the most jobs that are not over.",
                    "short",
                    Query(
                        f"topk(20, sum by ({LANES_BY}) (max by ({LANES_BY}, state) "
                        f'(sluice_lane_queue_jobs{{{LANE},state=~"pending|failed"}})))'
                    ),
                    runbook="queue.md",
                    hidden=("Time",),
                ),
                states(
                    "Breakers of lanes",
                    "Held: the lane's breaker for the callee is open or half open; its jobs for it wait and burn no attempt.",
                    Query(
                        f"sum by ({LANES_BY}, callee) "
                        f'(sluice_lane_breaker_state{{{LANE},callee=~"$callee",state=~"open|half_open"}})',
                        "{{tenant}}/{{source}} {{callee}}",
                    ),
                    runbook="breaker-open.md",
                    words=OPEN,
                ),
            ),
        ),
        (
            "Lanes",
            (
                lines(
                    "Wait of the oldest due job",
                    "Seconds since the oldest job of the lane that is due was due, whatever it waits for.",
                    "s",
                    Query(
                        f"max by ({LANES_BY}) (sluice_lane_oldest_due_age_seconds{{{LANE}}})", "{{tenant}}/{{source}}"
                    ),
                    runbook="queue.md",
                    steps=((None, GOOD), (60, ODD), (300, BAD)),
                ),
                lines(
                    "Jobs by state",
                    "Jobs of the lanes that are not over, and dead letters.",
                    "short",
                    Query(
                        f"sum by (state) (max by ({LANES_BY}, state) (sluice_lane_queue_jobs{{{LANE}}}))", "{{state}}"
                    ),
                    stacked=True,
                ),
                lines(
                    "Tokens",
                    "Tokens in the outbound buckets. At 0 a lane waits for its own rate.",
                    "short",
                    Query(f"min by ({LANES_BY}) (sluice_lane_bucket_tokens{{{LANE}}})", "{{tenant}}/{{source}}"),
                ),
                lines(
                    "Attempts",
                    "Attempts a second that ended, by outcome.",
                    "ops",
                    rate("sluice_lane_attempts_total", LANE, "outcome", "{{outcome}}"),
                    stacked=True,
                ),
                lines(
                    "Attempts in flight",
                    "Attempts that run now.",
                    "short",
                    Query(f"sum by ({LANES_BY}) (sluice_lane_in_flight{{{LANE}}})", "{{tenant}}/{{source}}"),
                ),
                lines(
                    "Breakers that opened, restarts",
                    "Times in an hour that a breaker of a lane opened, and that a lane was started again after a panic.",
                    "short",
                    Query(
                        f"sum by ({LANES_BY}) (increase(sluice_lane_breaker_opens_total{{{LANE}}}[1h]))",
                        "{{tenant}}/{{source}} opened",
                    ),
                    Query(
                        f"sum by ({LANES_BY}) (increase(sluice_lane_restarts_total{{{LANE}}}[1h])) > 0",
                        "{{tenant}}/{{source}} restarted",
                    ),
                    runbook="parked-lane.md",
                ),
                lines(
                    "Wait of jobs",
                    "From due to begun.",
                    "s",
                    *quantiles("sluice_job_queue_wait_seconds", VENDOR),
                    runbook="queue.md",
                ),
                lines(
                    "Time of attempts",
                    "By action, the 95th percentile and the median.",
                    "s",
                    p95("sluice_job_attempt_duration_seconds", VENDOR, "type", "{{type}} p95"),
                    Query(
                        "histogram_quantile(0.5, sum by (le, type) "
                        f"(rate(sluice_job_attempt_duration_seconds_bucket{{{VENDOR}}}{RATE})))",
                        "{{type}} p50",
                    ),
                ),
            ),
        ),
        (
            "Callees",
            (
                states(
                    "Shared breakers",
                    "Held: nobody calls the callee, but for one probe at a time.",
                    Query(
                        "sum by (callee) "
                        f'(sluice_circuit_breaker_state{{{CALLEE},state=~"open|half_open"}})',
                        "{{callee}}",
                    ),
                    runbook="breaker-open.md",
                    words=OPEN,
                    w=12,
                ),
                states(
                    "Credentials refused",
                    "Refused: the callee answers 401 or 403, and a person must act.",
                    Query(f"max by (callee) (sluice_callee_unauthorized{{{CALLEE}}})", "{{callee}}"),
                    runbook="breaker-open.md",
                    words=(("0", "fine", GOOD), ("1", "refused", BAD)),
                    w=12,
                ),
                lines(
                    "Calls by outcome",
                    "Calls a second by how they ended. `breaker_open`, `rate_limited` and `not_allowed` were not made.",
                    "reqps",
                    rate("sluice_outbound_requests_total", CALLEE, "outcome", "{{outcome}}"),
                    runbook="throttled.md",
                    stacked=True,
                ),
                lines(
                    "Error rate by callee",
                    "The part of the calls that did not succeed.",
                    "percentunit",
                    Query(
                        f'sum by (callee) (rate(sluice_outbound_requests_total{{{CALLEE},outcome!="success"}}{RATE})) '
                        f"/ sum by (callee) (rate(sluice_outbound_requests_total{{{CALLEE}}}{RATE}))",
                        "{{callee}}",
                    ),
                    most=1,
                ),
                lines(
                    "Time of calls",
                    "From a call's first step to the last byte of its answer, the 95th percentile.",
                    "s",
                    p95("sluice_outbound_request_duration_seconds", CALLEE, "callee", "{{callee}}"),
                ),
                lines(
                    "Wait for a callee's limits",
                    "Within an attempt, the 95th percentile. The first callee of a job is waited for before its attempt begins.",
                    "s",
                    p95("sluice_outbound_rate_limit_wait_seconds", CALLEE, "callee", "{{callee}}"),
                ),
                lines(
                    "Tokens of LLMs",
                    "Tokens a second that LLMs say their answers cost.",
                    "short",
                    rate("sluice_llm_tokens_total", CALLEE, "model, direction", "{{model}} {{direction}}"),
                ),
                lines(
                    "Shared breakers that opened",
                    "Times in an hour.",
                    "short",
                    Query(
                        f"sum by (callee) (increase(sluice_circuit_breaker_opens_total{{{CALLEE}}}[1h]))", "{{callee}}"
                    ),
                    runbook="breaker-open.md",
                ),
            ),
        ),
    ),
    (TENANT, SRC, OF_VENDOR, OF_CALLEE),
)

VENDORS = Dashboard(
    "sluice-vendors",
    "Sluice: vendors",
    "What each vendor sends, what is taken, refused and why.",
    (
        (
            "What comes",
            (
                lines(
                    "New events by vendor",
                    "New events a second that were accepted.",
                    "eps",
                    rate("sluice_webhook_events_total", f'{VENDOR},outcome="accepted"', "vendor", "{{vendor}}"),
                    runbook="silent-vendor.md",
                    stacked=True,
                ),
                lines(
                    "Events by outcome",
                    "Accepted, duplicates, conflicts, without a route, quarantined.",
                    "eps",
                    rate("sluice_webhook_events_total", VENDOR, "outcome", "{{outcome}}"),
                    stacked=True,
                ),
                lines(
                    "Time to the answer, p95",
                    "From the last byte of a delivery that was taken to its answer.",
                    "s",
                    p95("sluice_webhook_ack_duration_seconds", VENDOR, "vendor", "{{vendor}}"),
                ),
                table(
                    "New events in a day",
                    "By lane, the most first. A lane that is missing sent nothing.",
                    "short",
                    Query(f"topk(50, sum by ({LANES_BY}) (increase(sluice_lane_events_total{{{VENDOR}}}[1d]))) > 0"),
                    runbook="silent-vendor.md",
                    decimals=0,
                    hidden=("Time",),
                ),
                lines(
                    "Handshakes",
                    "Handshakes answered in an hour.",
                    "short",
                    Query(
                        f"sum by (vendor) (increase(sluice_webhook_handshakes_total{{{VENDOR}}}[1h]))", "{{vendor}}"
                    ),
                    w=12,
                    h=9,
                ),
            ),
        ),
        (
            "What is refused",
            (
                lines(
                    "Deliveries not taken",
                    "By reason: those that did not verify (401), are unusable (400, 415), too many (429), or met a store that fails (503).",
                    "reqps",
                    rate("sluice_webhook_rejections_total", VENDOR, "reason", "{{reason}}"),
                    runbook="signature-failures.md",
                    stacked=True,
                ),
                lines(
                    "Answered 429",
                    "The part of all deliveries that were told to come later.",
                    "percentunit",
                    Query(
                        f'sum(rate(sluice_http_requests_total{{{TARGET},{WEBHOOKS},code="429"}}{RATE})) '
                        f"/ sum(rate(sluice_http_requests_total{{{TARGET},{WEBHOOKS}}}{RATE}))",
                        "429",
                    ),
                    runbook="throttled.md",
                    steps=((None, GOOD), (0.05, BAD)),
                    most=1,
                ),
                table(
                    "Lanes that do not verify",
                    "Deliveries of an hour that did not verify, by lane.",
                    "short",
                    Query(f"topk(20, sum by ({LANES_BY}) (increase(sluice_lane_refusals_total{{{VENDOR}}}[1h])) > 0)"),
                    runbook="signature-failures.md",
                    w=8,
                    h=8,
                    decimals=0,
                    hidden=("Time",),
                ),
            ),
        ),
        (
            "Secrets, clocks, schemas",
            (
                lines(
                    "Secrets that verify",
                    "Deliveries a second by whether the newest secret verified them or an older one.",
                    "reqps",
                    rate("sluice_webhook_signatures_total", VENDOR, "vendor, secret", "{{vendor}} {{secret}}"),
                    runbook="rotate-a-secret.md",
                ),
                lines(
                    "Clock skew",
                    "Seconds between a signed time and ours, the 95th percentile. Past 300 s deliveries are refused.",
                    "s",
                    p95("sluice_webhook_clock_skew_seconds", VENDOR, "vendor", "{{vendor}}"),
                    runbook="signature-failures.md",
                    steps=((None, GOOD), (60, ODD), (300, BAD)),
                ),
                lines(
                    "Schema drift",
                    "Fields in an hour that are not as the vendor documents them.",
                    "short",
                    Query(
                        f"sum by (vendor, schema, kind) (increase(sluice_schema_drift_total{{{VENDOR}}}[1h]))",
                        "{{vendor}} {{schema}} {{kind}}",
                    ),
                    runbook="schema-change.md",
                ),
                table(
                    "Secrets that end",
                    "Time that is left of secrets with an end, by lane.",
                    "s",
                    Query(
                        f"sort(min by ({LANES_BY}, secret) "
                        f"(sluice_lane_secret_not_after_timestamp_seconds{{{VENDOR}}}) - time())"
                    ),
                    runbook="rotate-a-secret.md",
                    steps=((None, BAD), (86400, ODD), (604800, GOOD)),
                    w=24,
                    hidden=("Time",),
                ),
            ),
        ),
    ),
    (OF_VENDOR,),
)

WORDPRESS = Dashboard(
    "sluice-wordpress",
    "Sluice: WordPress",
    "Callbacks to WordPress sites: what they answered, how long it took, what is held.",
    (
        (
            "Callbacks",
            (
                stat(
                    "Succeeded",
                    "The part of callbacks that ended with the echo of their job.",
                    "percentunit",
                    Query(
                        f'sum(increase(sluice_outbound_requests_total{{{SITE},outcome="success"}}[$__range])) '
                        f"/ sum(increase(sluice_outbound_requests_total{{{SITE}}}[$__range]))",
                        "succeeded",
                    ),
                    runbook="callback-failures.md",
                    steps=((None, BAD), (0.8, ODD), (0.98, GOOD)),
                    most=1,
                    decimals=1,
                ),
                stat(
                    "Sites held",
                    "Sites whose shared breaker is not closed.",
                    "short",
                    Query(f'sum(sluice_circuit_breaker_state{{{SITE},state=~"open|half_open"}})', "held"),
                    runbook="breaker-open.md",
                    steps=((None, GOOD), (1, BAD)),
                ),
                stat(
                    "Sites that refuse us",
                    "Sites that answer 401 or 403: a person must act.",
                    "short",
                    Query(f"sum(sluice_callee_unauthorized{{{SITE}}})", "refuse"),
                    runbook="callback-failures.md",
                    steps=((None, GOOD), (1, BAD)),
                ),
                stat(
                    "Jobs that publish",
                    "Jobs of the chosen time that succeeded, of the actions that end on a site.",
                    "short",
                    Query(
                        f'sum(increase(sluice_job_attempts_total{{{TARGET},type=~"summarize_and_publish|wordpress_publish",'
                        'outcome="succeeded"}[$__range]))',
                        "jobs",
                    ),
                    decimals=0,
                ),
                lines(
                    "Callbacks by outcome",
                    "Callbacks a second by how they ended.",
                    "reqps",
                    rate("sluice_outbound_requests_total", SITE, "outcome", "{{outcome}}"),
                    runbook="callback-failures.md",
                    stacked=True,
                    w=12,
                ),
                lines(
                    "Failures by site",
                    "The part of the callbacks of a site that did not end with the echo of their job.",
                    "percentunit",
                    Query(
                        f'sum by (callee) (rate(sluice_outbound_requests_total{{{SITE},outcome!="success"}}{RATE})) '
                        f"/ sum by (callee) (rate(sluice_outbound_requests_total{{{SITE}}}{RATE}))",
                        "{{callee}}",
                    ),
                    runbook="callback-failures.md",
                    steps=((None, GOOD), (0.2, BAD)),
                    most=1,
                    w=12,
                ),
                lines(
                    "Time of callbacks",
                    "By site, the 95th percentile. A call is cut off after 15 s.",
                    "s",
                    p95("sluice_outbound_request_duration_seconds", SITE, "callee", "{{callee}}"),
                    w=12,
                ),
                lines(
                    "Wait for a site",
                    "Within an attempt, the 95th percentile: two callbacks at once go to a site.",
                    "s",
                    p95("sluice_outbound_rate_limit_wait_seconds", SITE, "callee", "{{callee}}"),
                    w=12,
                ),
                states(
                    "Breakers of sites",
                    "Held: nobody calls the site, but for one probe at a time.",
                    Query(
                        "sum by (callee) "
                        f'(sluice_circuit_breaker_state{{{SITE},state=~"open|half_open"}})',
                        "{{callee}}",
                    ),
                    runbook="breaker-open.md",
                    words=OPEN,
                ),
            ),
        ),
    ),
    (OF_SITE,),
)

NODE = Dashboard(
    "sluice-node",
    "Sluice: node and store",
    "What each node has in use, how its store answers, and what it stands on.",
    (
        (
            "Nodes",
            (
                table(
                    "Nodes",
                    "Version and revision of each node that is scraped.",
                    "none",
                    Query(f"max by (instance, version, revision) (sluice_build_info{{{TARGET}}})"),
                    w=8,
                    h=5,
                    hidden=("Time", "Value"),
                ),
                stat(
                    "Nodes alive",
                    "Nodes that share the store; 0 where nobody can share it.",
                    "short",
                    Query(f"max(sluice_nodes{{{TARGET}}})", "alive"),
                    runbook="nodes.md",
                    w=4,
                ),
                stat(
                    "Configured differently",
                    "Tenants that the live nodes have configured differently.",
                    "short",
                    Query(f"max(sluice_node_config_mismatches{{{TARGET}}})", "tenants"),
                    runbook="nodes.md",
                    steps=((None, GOOD), (1, ODD)),
                    w=4,
                ),
                stat(
                    "Configuration",
                    "Whether the files on disk are in force.",
                    "none",
                    Query(f"min by (instance) (sluice_config_last_reload_successful{{{TARGET}}})", "{{instance}}"),
                    runbook="config-reload.md",
                    words=(("0", "refused", BAD), ("1", "in force", GOOD)),
                    w=4,
                ),
                stat(
                    "Age of the configuration",
                    "Since the running configuration was read.",
                    "s",
                    Query(f"time() - max by (instance) (sluice_config_last_reload_timestamp_seconds{{{TARGET}}})", "{{instance}}"),
                    w=4,
                ),
                states(
                    "Leases",
                    "Trusted: the node renews its lease and may work on its lanes. Only where nodes share a store.",
                    Query(f"min by (instance) (sluice_node_trusted{{{TARGET}}})", "{{instance}}"),
                    runbook="nodes.md",
                    words=(("0", "not trusted", BAD), ("1", "trusted", GOOD)),
                    w=12,
                    h=6,
                ),
                lines(
                    "Taken for dead, late writes, reloads",
                    "Times in an hour.",
                    "short",
                    Query(f"sum by (instance) (increase(sluice_node_taken_for_dead_total{{{TARGET}}}[1h]))", "{{instance}} taken for dead"),
                    Query(f"sum by (instance) (increase(sluice_node_stale_writes_total{{{TARGET}}}[1h]))", "{{instance}} late writes"),
                    Query(f"sum by (instance, outcome) (increase(sluice_config_reloads_total{{{TARGET}}}[1h]))", "{{instance}} reload {{outcome}}"),
                    runbook="nodes.md",
                    w=12,
                    h=6,
                ),
            ),
        ),
        (
            "Saturation",
            (
                lines(
                    "Slots in use",
                    "Attempts in flight out of those that the node may make at once.",
                    "percentunit",
                    Query(
                        f"sum by (instance) (sluice_workers_busy{{{TARGET}}}) / sum by (instance) (sluice_workers{{{TARGET}}})",
                        "{{instance}}",
                    ),
                    runbook="queue.md",
                    steps=((None, GOOD), (0.9, BAD)),
                    most=1,
                ),
                lines(
                    "Processors",
                    "Processors in use.",
                    "short",
                    Query(f"rate(process_cpu_seconds_total{{{TARGET}}}{RATE})", "{{instance}}"),
                ),
                lines(
                    "Memory",
                    "Memory of the process.",
                    "bytes",
                    Query(f"process_resident_memory_bytes{{{TARGET}}}", "{{instance}}"),
                ),
                lines(
                    "Open files",
                    "Files and sockets, and how many there may be.",
                    "short",
                    Query(f"process_open_fds{{{TARGET}}}", "{{instance}}"),
                    Query(f"process_max_fds{{{TARGET}}}", "{{instance}} at most"),
                ),
                lines(
                    "Time of requests, p95",
                    "By route, from the last byte of a request to its answer.",
                    "s",
                    p95("sluice_http_request_duration_seconds", TARGET, "route", "{{route}}"),
                ),
                lines(
                    "Up since",
                    "Age of the process.",
                    "s",
                    Query(f"time() - process_start_time_seconds{{{TARGET}}}", "{{instance}}"),
                    runbook="target-down.md",
                ),
            ),
        ),
        (
            "Store",
            (
                lines(
                    "Store requests",
                    "Requests a second to the store, by what is asked.",
                    "ops",
                    Query(f"sum by (op) (rate(sluice_db_query_duration_seconds_count{{{TARGET}}}{RATE}))", "{{op}}"),
                    stacked=True,
                ),
                lines(
                    "Store requests, p99",
                    "As whoever asked saw it. `record` is the commit of deliveries.",
                    "s",
                    Query(
                        "histogram_quantile(0.99, sum by (le, op) "
                        f"(rate(sluice_db_query_duration_seconds_bucket{{{TARGET}}}{RATE})))",
                        "{{op}}",
                    ),
                    runbook="store-unavailable.md",
                ),
                lines(
                    "Store errors",
                    "Requests a second that failed.",
                    "ops",
                    Query(f"sum by (instance, op) (rate(sluice_db_errors_total{{{TARGET}}}{RATE})) > 0", "{{instance}} {{op}}"),
                    runbook="store-unavailable.md",
                ),
                lines(
                    "Reading connections",
                    "In use and at rest, and how many there may be.",
                    "short",
                    Query(f"sum by (instance, state) (sluice_db_pool_connections{{{TARGET}}})", "{{instance}} {{state}}"),
                    Query(f"sum by (instance) (sluice_db_pool_max_connections{{{TARGET}}})", "{{instance}} at most"),
                    runbook="store-unavailable.md",
                ),
                lines(
                    "Files of SQLite",
                    "The database and its write-ahead log.",
                    "bytes",
                    Query(f"sum by (instance, file) (sluice_db_file_bytes{{{TARGET}}})", "{{instance}} {{file}}"),
                    runbook="disk.md",
                ),
                lines(
                    "Removed by retention",
                    "Rows in an hour.",
                    "short",
                    Query(f"sum by (kind) (increase(sluice_retention_swept_total{{{TARGET}}}[1h]))", "{{kind}}"),
                    runbook="disk.md",
                ),
                lines(
                    "Artifacts",
                    "Objects written, by how that ended. What senders upload into a bucket does not pass here.",
                    "short",
                    Query(
                        f"sum by (backend, outcome) (increase(sluice_artifact_uploads_total{{{TARGET}}}[1h]))",
                        "{{backend}}: {{outcome}}",
                    ),
                    runbook="artifacts.md",
                ),
                lines(
                    "Bytes of artifacts",
                    "Bytes of objects that were stored.",
                    "Bps",
                    Query(f"sum by (backend) (rate(sluice_artifact_bytes_total{{{TARGET}}}{RATE}))", "{{backend}}"),
                    runbook="artifacts.md",
                ),
                lines(
                    "Disk of the data folder",
                    "The part that is free.",
                    "percentunit",
                    Query(
                        f"min by (instance) (sluice_data_disk_free_bytes{{{TARGET}}}) "
                        f"/ max by (instance) (sluice_data_disk_size_bytes{{{TARGET}}})",
                        "{{instance}}",
                    ),
                    runbook="disk.md",
                    steps=((None, BAD), (0.05, ODD), (0.2, GOOD)),
                    most=1,
                    w=12,
                ),
                table(
                    "Certificates",
                    "Time that is left of the certificates of listeners that end TLS themselves.",
                    "s",
                    Query(f"min by (instance, listener) (sluice_tls_cert_not_after_timestamp_seconds{{{TARGET}}}) - time()"),
                    runbook="certificate.md",
                    steps=((None, BAD), (1209600, GOOD)),
                    h=8,
                    hidden=("Time",),
                ),
            ),
        ),
        (
            "What the gateway tells by itself",
            (
                lines(
                    "Alerts taken",
                    "Alerts in an hour that a receiver of `[alerts]` took.",
                    "short",
                    Query(f"sum by (receiver) (increase(sluice_alerts_sent_total{{{TARGET}}}[1h]))", "{{receiver}}"),
                    runbook="alerts.md",
                ),
                lines(
                    "Alerts not taken",
                    "In an hour: tries that failed and are repeated, alerts that were given up, and what did not fit a queue.",
                    "short",
                    Query(f"sum by (receiver) (increase(sluice_alerts_retries_total{{{TARGET}}}[1h]))", "{{receiver}} tried again"),
                    Query(f"sum by (receiver) (increase(sluice_alerts_failed_total{{{TARGET}}}[1h]))", "{{receiver}} given up"),
                    Query(f"sum by (instance) (increase(sluice_alerts_dropped_total{{{TARGET}}}[1h]))", "{{instance}} dropped"),
                    runbook="alerts.md",
                    steps=((None, GOOD), (1, ODD)),
                ),
                lines(
                    "Alerts held back",
                    "In an hour: the same of a lane and cause was told less than an hour ago. The next one says how many.",
                    "short",
                    Query(f"sum by (cause) (increase(sluice_alerts_suppressed_total{{{TARGET}}}[1h]))", "{{cause}}"),
                ),
                lines(
                    "Spans and reports lost",
                    "A second: what the collector and Sentry did not take.",
                    "ops",
                    Query(f"sum by (instance, signal) (rate(sluice_telemetry_dropped_total{{{TARGET}}}{RATE}))", "{{instance}} {{signal}}"),
                    runbook="telemetry.md",
                    w=24,
                    h=6,
                ),
            ),
        ),
    ),
)



def of_lanes(panel: Panel) -> bool:
    """Whether all that it shows are series of single lanes: a tenant's data source has no others."""
    return all(name.startswith("sluice_lane_") for query in panel.queries for name in re.findall(r"\bsluice_\w+", query.expr))


LANE_VALUES = "label_values(sluice_lane_events_total"
ONE_TENANT = Dashboard(
    "sluice-tenant",
    "Sluice: lanes of a tenant",
    "What came to the tenant's sources and what is done with it.",
    (
        (
            "Deliveries",
            (
                lines(
                    "Events",
                    "New events a second, by source.",
                    "eps",
                    rate("sluice_lane_events_total", LANE, "tenant, source", "{{tenant}}/{{source}}"),
                    w=12,
                    stacked=True,
                ),
                lines(
                    "Refused",
                    "Deliveries a second that did not verify, by source.",
                    "reqps",
                    rate("sluice_lane_refusals_total", LANE, "tenant, source", "{{tenant}}/{{source}}"),
                    w=12,
                    runbook="signature-failures.md",
                    stacked=True,
                ),
            ),
        ),
    )
    + tuple((row, kept) for row, panels in LANES.rows if (kept := tuple(filter(of_lanes, panels)))),
    (
        TENANT,
        SRC,
        Variable("vendor", "Vendor", f"{LANE_VALUES}{{{OF_LANE}}}, vendor)"),
        Variable("callee", "Callee", f"label_values(sluice_lane_breaker_state{{{OF_LANE}}}, callee)"),
    ),
    alone=True,
)

DASHBOARDS = (OVERVIEW, LANES, VENDORS, WORDPRESS, NODE)


def link(title: str, url: str, blank: bool) -> dict[str, Any]:
    return {
        "asDropdown": False,
        "icon": "doc",
        "includeVars": False,
        "keepTime": False,
        "tags": [],
        "targetBlank": blank,
        "title": title,
        "tooltip": "",
        "type": "link",
        "url": url,
    }


def options(panel: Panel) -> dict[str, Any]:
    legend = {"calcs": ["lastNotNull", "max"], "displayMode": "table", "placement": "bottom", "showLegend": True}
    tooltip = {"mode": "multi", "sort": "desc"}
    reduced = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    match panel.kind:
        case "timeseries":
            return {"legend": legend, "tooltip": tooltip}
        case "stat":
            return {
                "colorMode": "value",
                "graphMode": "none",
                "justifyMode": "auto",
                "orientation": "auto",
                "percentChangeColorMode": "standard",
                "reduceOptions": reduced,
                "showPercentChange": False,
                "textMode": "auto",
                "wideLayout": True,
            }
        case "table":
            return {"cellHeight": "sm", "frameIndex": 0, "showHeader": True}
        case "state-timeline":
            return {
                "alignValue": "left",
                "legend": {**legend, "calcs": [], "displayMode": "list", "showLegend": False},
                "mergeValues": True,
                "rowHeight": 0.9,
                "showValue": "auto",
                "tooltip": tooltip,
            }
        case other:
            raise ValueError(other)


def field_config(panel: Panel) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "color": {"mode": "palette-classic" if panel.kind == "timeseries" else "thresholds"},
        "thresholds": {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in panel.steps]},
        "unit": panel.unit,
    }
    for name, value in (("min", panel.least), ("max", panel.most), ("decimals", panel.decimals)):
        if value is not None:
            defaults[name] = value
    if panel.words:
        words = {value: {"color": color, "text": text} for value, text, color in panel.words}
        defaults["mappings"] = [{"type": "value", "options": words}]
    if panel.kind == "timeseries":
        defaults["custom"] = {
            "fillOpacity": 20 if panel.stacked else 0,
            "lineWidth": 1,
            "showPoints": "never",
            "stacking": {"group": "A", "mode": "normal" if panel.stacked else "none"},
            "thresholdsStyle": {"mode": "line" if len(panel.steps) > 1 else "off"},
        }
    if panel.kind == "state-timeline":
        defaults["custom"] = {"fillOpacity": 70, "lineWidth": 0}
        # Folded lanes count their breakers.
        if panel.words:
            held = panel.words[-1]
            defaults["mappings"].append(
                {"type": "range", "options": {"from": 1, "to": None, "result": {"text": held[1], "color": held[2]}}}
            )
    overrides = [
        {"matcher": {"id": "byName", "options": name}, "properties": [{"id": "custom.hidden", "value": True}]}
        for name in panel.hidden
    ]
    return {"defaults": defaults, "overrides": overrides}


def target(query: Query, nth: int) -> dict[str, Any]:
    return {
        "datasource": SOURCE,
        "editorMode": "code",
        "expr": query.expr,
        "format": "table" if query.table else "time_series",
        "instant": query.now,
        "legendFormat": query.legend or "__auto",
        "range": not query.now,
        "refId": chr(ord("A") + nth),
    }


def panel_json(panel: Panel, number: int, x: int, y: int) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.tells,
        "datasource": SOURCE,
        "gridPos": {"h": panel.h, "w": panel.w, "x": x, "y": y},
        "fieldConfig": field_config(panel),
        "options": options(panel),
        "targets": [target(query, nth) for nth, query in enumerate(panel.queries)],
    }
    if panel.runbook:
        made["links"] = [link("Runbook", RUNBOOKS + panel.runbook, True)]
    return made


def variable_json(variable: Variable) -> dict[str, Any]:
    return {
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "datasource": SOURCE,
        "hide": 0,
        "includeAll": True,
        "label": variable.says,
        "multi": True,
        "name": variable.name,
        "options": [],
        "query": {"qryType": 1, "query": variable.query, "refId": f"Variable-{variable.name}"},
        "refresh": 2,
        "regex": "",
        "sort": 1,
        "type": "query",
    }


def dashboard_json(dashboard: Dashboard) -> dict[str, Any]:
    panels: list[dict[str, Any]] = []
    y = 0
    for row, members in dashboard.rows:
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": row,
                "collapsed": False,
                "gridPos": {"h": 1, "w": 24, "x": 0, "y": y},
                "panels": [],
            }
        )
        x, y, height = 0, y + 1, 0
        for member in members:
            if x + member.w > 24:
                x, y, height = 0, y + height, 0
            panels.append(panel_json(member, len(panels) + 1, x, y))
            x, height = x + member.w, max(height, member.h)
        y += height
    source = {
        "current": {"selected": True, "text": "default", "value": "default"},
        "hide": 0,
        "includeAll": False,
        "label": "Data source",
        "multi": False,
        "name": "datasource",
        "options": [],
        "query": "prometheus",
        "refresh": 1,
        "regex": "",
        "type": "datasource",
    }
    others = [link(other.title, f"/d/{other.uid}", False) for other in DASHBOARDS if other is not dashboard]
    first = (JOB, INSTANCE)
    if dashboard.alone:
        told = f"{LANE_VALUES}{{{OF_LANE}}}, instance)"
        first = (replace(JOB, query=f"{LANE_VALUES}, job)"), replace(INSTANCE, query=told))
    releases = {
        "datasource": SOURCE,
        "enable": True,
        "expr": f"max by (instance, version) (sluice_build_info{{{TARGET}}}) "
        f"unless max by (instance, version) (sluice_build_info{{{TARGET}}} offset 2m)",
        "iconColor": "blue",
        "name": "Releases",
        "titleFormat": "{{version}} on {{instance}}",
    }
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.tells,
        "tags": ["sluice"],
        "schemaVersion": 39,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": [] if dashboard.alone else [releases]},
        "links": [] if dashboard.alone else others,
        "templating": {"list": [source, *map(variable_json, (*first, *dashboard.variables))]},
        "panels": panels,
    }


def main() -> int:
    differ = []
    for dashboard in (*DASHBOARDS, ONE_TENANT):
        folder = TENANT_FOLDER if dashboard.alone else FOLDER
        path = folder / f"{dashboard.uid.removeprefix('sluice-')}.json"
        text = json.dumps(dashboard_json(dashboard), indent=1, ensure_ascii=False) + "\n"
        if "--check" in sys.argv[1:]:
            if not path.is_file() or path.read_text() != text:
                differ.append(f"{folder.name}/{path.name}")
        else:
            folder.mkdir(exist_ok=True)
            path.write_text(text)
    for name in differ:
        print(f"{name} is not what generate.py makes: run deploy/grafana/generate.py", file=sys.stderr)
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
