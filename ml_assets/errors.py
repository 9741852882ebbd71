"""What can go wrong between a frame and a model. Each message says what and where; the advice says what to do."""

from foundation.errors import ChurnError


class ModelError(ChurnError):
    """Base of every error of this package."""


class TaskError(ModelError):
    """A task, a feature or a threshold is defined wrongly."""

    advice = "Mend the definition: docs/features.md and docs/models.md say what each part means."


class FrameError(ModelError):
    """A frame cannot be used by this task or model."""

    advice = "`churn run --company SLUG` builds the features again."


class FeatureMissingError(FrameError):
    """A feature that the model needs is not in the frame."""

    advice = "`churn run --company SLUG` builds the features of this version, and `churn train` learns from those."


class FeatureTypeError(FrameError):
    """A feature's values are of another type than its kind says."""

    advice = "Mend its SQL, or its kind in the YAML beside it: docs/features.md says how."


class InfiniteValueError(FrameError):
    """A feature holds infinite values, which mean a division by zero upstream."""

    advice = "Look for a division by zero in the SQL that makes it: `churn features` says where that stands."


class DuplicateRowError(FrameError):
    """The same customer stands twice at one as_of_date."""


class LabelError(FrameError):
    """The label is missing, is no truth value, or has only one class."""

    advice = "`churn company check SLUG` says who churned and what is missing."


class FeatureVersionError(FrameError):
    """Rows made by different feature versions stand together, or by another one than the model was trained on."""

    advice = "`churn run --company SLUG` builds the features again and trains on them."


class PoolError(FrameError):
    """A row of a company that does not share its data stands in a pooled training frame."""

    advice = "`churn train` makes the pool again from the companies that share."


class TrainingChangedError(FrameError):
    """The rows of a recorded training are no longer what they were, so that it cannot be repeated."""

    advice = "`churn train --company SLUG` trains on the rows as they are now."


class ArtefactError(ModelError):
    """A stored model cannot be read."""

    advice = "`churn train --company SLUG` trains it again; `churn model rollback --company SLUG` takes the one before."


class AttributionError(ModelError):
    """The parts of a prediction do not add up to it."""

    advice = "`churn train --company SLUG` trains it again with the libraries of this version."


class LifetimeError(ModelError):
    """Histories of purchases cannot carry a model of what customers are worth."""

    advice = "docs/lifetime-value.md says what a company's payments must show."
