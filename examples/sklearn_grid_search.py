"""Choose an option of a method by scikit-learn's grid search.

python examples/sklearn_grid_search.py
"""

from __future__ import annotations

from sklearn.model_selection import GridSearchCV, cross_val_score

from adjudge import TextClassifier

GOOD = ("lovely", "fresh", "warm", "quick")
BAD = ("stale", "cold", "slow", "rude")
THINGS = ("soup", "bread", "waiter", "table", "coffee", "room")


def reviews() -> tuple[list[str], list[str]]:
    """Forty-eight short reviews, half of them good."""
    rows = [(f"the {thing} was {word}", label) for thing in THINGS for label, words in WORDS.items() for word in words]
    return [text for text, _ in rows], [label for _, label in rows]


WORDS = {"good": GOOD, "bad": BAD}


def main() -> None:
    """Search, then estimate the winner by cross-validation."""
    texts, labels = reviews()
    classifier = TextClassifier("tfidf", options={"min_df": 1}, validation_fraction=0.2)
    search = GridSearchCV(classifier, {"options__lowercase": [True, False], "options__c": [0.1, 10.0]}, cv=3)
    search.fit(texts, labels)
    scores = cross_val_score(search.best_estimator_, texts, labels, cv=3)
    print(f"best options: {search.best_params_}")
    print(f"accuracy in 3 folds: {scores.mean():.3f} (from {scores.min():.3f} to {scores.max():.3f})")
    print(f"a new review: {search.predict(['the tea was cold'])[0]}")


if __name__ == "__main__":
    main()
