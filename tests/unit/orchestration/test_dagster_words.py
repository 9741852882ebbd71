"""Tags of Dagster's for which it has no public names are written as it writes them."""

from dagster._core.storage import tags

from orchestration import job_runner, partitions


def test_tags_are_those_that_dagster_reads() -> None:
    assert partitions.range_tags(["a", "b", "c"]) == {
        tags.ASSET_PARTITION_RANGE_START_TAG: "a",
        tags.ASSET_PARTITION_RANGE_END_TAG: "c",
    }
    assert job_runner.REPOSITORY_LABEL_TAG == tags.REPOSITORY_LABEL_TAG
