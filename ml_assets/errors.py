"""What can go wrong between a frame and a model. Each message says what, where and what to do."""


class ModelError(Exception):
    """Base of every error of this package."""


class TaskError(ModelError):
    """A task, a feature or a threshold is defined wrongly."""


class FrameError(ModelError):
    """A frame cannot be used by this task or model."""


class FeatureMissingError(FrameError):
    """A feature that the model needs is not in the frame."""


class FeatureTypeError(FrameError):
    """A feature's values are of another type than its kind says."""


class InfiniteValueError(FrameError):
    """A feature holds infinite values, which mean a division by zero upstream."""


class DuplicateRowError(FrameError):
    """The same customer stands twice at one as_of_date."""


class LabelError(FrameError):
    """The label is missing, is no truth value, or has only one class."""


class FeatureVersionError(FrameError):
    """Rows made by different feature versions stand together, or by another one than the model was trained on."""


class PoolError(FrameError):
    """A row of a company that does not share its data stands in a pooled training frame."""


class TrainingChangedError(FrameError):
    """The rows of a recorded training are no more what they were, so that it cannot be repeated."""


class ArtefactError(ModelError):
    """A stored model cannot be read."""


class AttributionError(ModelError):
    """The parts of a prediction do not add up to it."""
