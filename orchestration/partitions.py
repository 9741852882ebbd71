"""Companies as one dynamic partition set, kept in step with the registry."""

from collections.abc import Sequence

import dagster as dg

# Dagster's words, for which it has no public names.
ASSET_PARTITION_RANGE_START_TAG = "dagster/asset_partition_range_start"
ASSET_PARTITION_RANGE_END_TAG = "dagster/asset_partition_range_end"

companies = dg.DynamicPartitionsDefinition(name="company")


def match_registry(instance: dg.DagsterInstance, slugs: Sequence[str]) -> None:
    """Make the partition set equal to the active companies' slugs, in their order."""
    known = instance.get_dynamic_partitions("company")
    for gone in set(known) - set(slugs):
        instance.delete_dynamic_partition("company", gone)
    instance.add_dynamic_partitions("company", [slug for slug in slugs if slug not in known])


def range_tags(slugs: Sequence[str]) -> dict[str, str]:
    """Run tags that make one run cover the companies from the first to the last of ``slugs``."""
    return {ASSET_PARTITION_RANGE_START_TAG: slugs[0], ASSET_PARTITION_RANGE_END_TAG: slugs[-1]}
