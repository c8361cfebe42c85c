"""How much of the classes a code tells: simple classifiers on frozen codes."""

import warnings

from torch import Tensor

from lightning_genmodels.errors import GenmodelsError


def probe_codes(
    train_codes: Tensor,
    train_labels: Tensor,
    codes: Tensor,
    labels: Tensor,
    *,
    inverse_penalty: float = 1.0,
    neighbours: int = 5,
    max_iter: int = 200,
) -> dict[str, float]:
    """Error rates of two classifiers that are trained on some codes and judged by others (scikit-learn's).

    From all codes the mean of the training codes is subtracted, and they are divided by one number, the mean standard
    deviation of these, so that `inverse_penalty` means the same for every model.

    Args:
        train_codes: (M, Z).
        train_labels: (M,) classes, at least two different ones.
        codes: (N, Z).
        labels: (N,).
        inverse_penalty: C of the logistic regression; less is smoother.
        neighbours: k of the k-nearest-neighbours classifier (Euclidean); 0 leaves it out.
        max_iter: steps of the logistic regression's L-BFGS.

    Returns:
        "logistic" and, unless left out, "knn": shares of wrong answers in [0, 1].

    Raises:
        GenmodelsError: for labels of one class only, or fewer training codes than neighbours.
    """
    from sklearn.exceptions import ConvergenceWarning  # slow to import, and not every run probes
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    classes = len(train_labels.unique())
    if classes < 2 or len(train_codes) < neighbours:
        raise GenmodelsError(
            f"probe: {len(train_codes)} training codes of {classes} class(es); expected {neighbours} codes or more, of "
            "at least 2 classes."
        )
    # Centred and of one scale: else L-BFGS, begun at 0, would spend its steps on a large common part.
    mean, scale = train_codes.float().mean(0), train_codes.float().std(0).mean().clamp_min(1e-12)
    x, points = (((c.float() - mean) / scale).cpu().numpy() for c in (train_codes, codes))
    y, truth = train_labels.cpu().numpy(), labels.cpu().numpy()
    errors = {}
    classifiers = {"logistic": LogisticRegression(C=inverse_penalty, max_iter=max_iter)}
    if neighbours:
        classifiers["knn"] = KNeighborsClassifier(neighbours)
    for name, classifier in classifiers.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # stopping early is a choice here, not a fault
            errors[name] = float((classifier.fit(x, y).predict(points) != truth).mean())
    return errors
