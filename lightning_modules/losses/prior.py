"""The prior that class weights teach, taken out of what a network says."""

from jaxtyping import Float
from torch import Tensor

from models.prediction import Prediction


def without_class_weights(prediction: Prediction, class_weights: Float[Tensor, " c"]) -> Prediction:
    """The class scores that training without the weights would have led to.

    The optimum of a cross-entropy weighted by w has probabilities in proportion to w_c p_c, so the logarithm of w comes
    off the scores of every head: the mask, the coarser decoder stages, the preliminary mask, the gate's key and a
    second decoder.

    Args:
        prediction: As the network put it out.
        class_weights: Those that it was trained with; ones change nothing.

    Raises:
        ValueError: If a weight is not a positive number.
    """
    if bool((class_weights == 1).all()):
        return prediction
    if not bool((class_weights.isfinite() & (class_weights > 0)).all()):
        listed = ", ".join(f"{weight:g}" for weight in class_weights.tolist())
        raise ValueError(
            f"the class weights {listed} cannot be undone, each must be a positive number: decide with them "
            "(objective.undo_class_weights=false), or train with others (objective.class_weighting)"
        )
    shift = class_weights.float().log()[:, None, None]

    def unshifted(scores: Tensor) -> Tensor:
        return scores.float() - shift.to(scores.device)

    return prediction._replace(
        logits=unshifted(prediction.logits),
        deep=tuple(unshifted(scores) for scores in prediction.deep),
        preliminary=None if prediction.preliminary is None else unshifted(prediction.preliminary),
        key=None if prediction.key is None else unshifted(prediction.key),
        second=None if prediction.second is None else unshifted(prediction.second),
    )
