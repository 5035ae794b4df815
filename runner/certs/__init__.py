"""Certificates of a private authority."""

from __future__ import annotations

from runner.certs.authority import CA_DAYS as CA_DAYS
from runner.certs.authority import LEAF_DAYS as LEAF_DAYS
from runner.certs.authority import Authority as Authority
from runner.certs.authority import Issued as Issued
from runner.certs.authority import Kind as Kind
from runner.certs.authority import alternative_names as alternative_names
from runner.certs.authority import is_host as is_host
