"""Names that people know from elsewhere, and the fields and choices of ours that they could mean."""

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vsweep.config.schema import FIELDS, GROUPS, TOP

# The same field or group under another name. Names that mean exactly our field are used as they are.
SAME = {
    "learning_rate": "optimizer.lr",
    "beta1": "optimizer.b1",
    "beta2": "optimizer.b2",
    "hidden": "model.width",
    "hidden_size": "model.width",
}
# Other names are only suggested, since they often mean something slightly different.
COMMON = {
    **SAME,
    **dict.fromkeys(("seed", "random_seed", "random_state", "num_seeds", "n_seeds", "rng_seed"), "seeds"),
    **dict.fromkeys(("repeats", "n_repeats", "num_repeats", "repetitions", "num_runs", "n_runs"), "seeds"),
    **dict.fromkeys(("epoch", "epochs", "num_epochs", "n_epochs", "max_epochs", "train_epochs"), "steps"),
    **dict.fromkeys(("iterations", "num_iterations", "n_iterations", "max_iter", "iters"), "steps"),
    **dict.fromkeys(("num_steps", "n_steps", "max_steps", "total_steps", "train_steps"), "steps"),
    **dict.fromkeys(("log_every", "log_interval", "eval_every", "eval_interval", "log_freq"), "record_every"),
    **dict.fromkeys(("lr_init", "init_lr", "base_lr", "max_lr", "learningrate", "step_size"), "optimizer.lr"),
    **dict.fromkeys(("wd", "l2", "l2_penalty", "alpha", "penalty"), "optimizer.weight_decay"),
    **dict.fromkeys(("beta_1", "b_1", "betas"), "optimizer.b1"),
    **dict.fromkeys(("beta_2", "b_2"), "optimizer.b2"),
    "epsilon": "optimizer.eps",
    "rho": "optimizer.decay",
    **dict.fromkeys(("gamma", "lr_decay"), "schedule.decay_rate"),
    **dict.fromkeys(("min_lr", "final_lr", "lr_final"), "schedule.final"),
    **dict.fromkeys(("batch", "bs", "minibatch", "mini_batch_size"), "data.batch_size"),
    **dict.fromkeys(("validation_split", "val_split", "val_size"), "data.val_fraction"),
    **dict.fromkeys(("test_split", "test_size"), "data.test_fraction"),
    **dict.fromkeys(("n_splits", "num_splits"), "data.splits"),
    **dict.fromkeys(("cv", "kfold", "k_folds", "n_folds", "num_folds"), "data.folds"),
    **dict.fromkeys(("label", "target_column", "label_column"), "data.target"),
    **dict.fromkeys(("file", "csv_path", "data_path", "filename", "csv"), "data.path"),
    **dict.fromkeys(("normalize", "standardise", "scale"), "data.standardize"),
    **dict.fromkeys(("hidden_dim", "hidden_units", "units", "num_units", "n_units"), "model.width"),
    **dict.fromkeys(("layer_size", "fc_layer_size", "n_hidden", "neurons", "nodes"), "model.width"),
    "hidden_layer_sizes": "model.width",
    **dict.fromkeys(("layers", "num_layers", "n_layers", "hidden_layers", "n_hidden_layers"), "model.depth"),
    "num_hidden_layers": "model.depth",
    **dict.fromkeys(("activation_fn", "activation_function", "nonlinearity", "act"), "model.activation"),
    **dict.fromkeys(("initializer", "weight_init", "kernel_init", "initialization"), "model.init"),
    **dict.fromkeys(("init_std", "init_gain", "gain"), "model.init_scale"),
    **dict.fromkeys(("warmup", "n_warmup", "num_warmup_steps"), "schedule.warmup_steps"),
    **dict.fromkeys(("experiment", "exp", "config", "sweep_name", "study"), "sweep"),
    **dict.fromkeys(("output", "out", "outdir", "output_dir", "out_dir", "save_dir", "log_dir"), "dir"),
    **dict.fromkeys(("dataset", "datasets"), "data"),
    **dict.fromkeys(("net", "network", "arch", "architecture"), "model"),
    **dict.fromkeys(("opt", "optim", "solver"), "optimizer"),
    **dict.fromkeys(("wandb", "logger", "loggers"), "tracker"),
    **dict.fromkeys(("scheduler", "lr_scheduler", "lr_schedule"), "schedule"),
    **dict.fromkeys(("criterion", "loss_fn", "loss_function", "objective"), "loss"),
    **dict.fromkeys(("project", "wandb_project", "wandb.project"), "tracker.wandb.project"),
    **dict.fromkeys(("entity", "wandb_entity", "wandb.entity"), "tracker.wandb.entity"),
    **dict.fromkeys(("float", "precision_dtype", "param_dtype", "mixed_precision", "amp"), "dtype"),
}
# Remarks on fields whose other names mean something slightly different.
_REMARKS = {
    "steps": "A step is one update: with the full batch, an epoch is one step",
    "seeds": "A number counts the seeds, and a list names them: seeds=[3]",
}
_TABLES = (".csv", ".tsv", ".parquet")
_NO_FIELD = {
    **dict.fromkeys(
        ("dropout", "dropout_rate", "drop", "p_dropout", "batch_norm", "batchnorm", "layer_norm"),
        "the shipped models have none; a model of your own can have it: model=own",
    ),
    **dict.fromkeys(
        ("early_stopping", "patience", "early_terminate"), "every training runs to its end: leave it out"
    ),
    **dict.fromkeys(
        ("clip", "grad_clip", "clip_grad", "max_grad_norm", "gradient_clip_val", "clipnorm"),
        "no optimizer clips gradients: leave it out",
    ),
    "nesterov": "it is an optimizer of its own: optimizer=nesterov",
    "shuffle": "examples are drawn in a new order for every seed: leave it out",
    **dict.fromkeys(("verbose", "debug", "log_level"), "leave it out"),
    **dict.fromkeys(
        ("device", "devices", "gpu", "gpus", "num_workers", "workers", "n_jobs", "accelerator"),
        "all devices of the process are used: leave it out",
    ),
}
_CHOICES = {
    **dict.fromkeys(("mnist", "fashion_mnist", "usps", "optdigits", "load_digits"), "digits"),
    **dict.fromkeys(("file", "table", "tsv", "pandas"), "csv"),
    **dict.fromkeys(("spiral", "two_spirals"), "spirals"),
    **dict.fromkeys(("make_moons", "two_moons"), "moons"),
    **dict.fromkeys(("nn", "fc", "fcn", "dense", "feedforward", "network", "neural_network"), "mlp"),
    **dict.fromkeys(("mlp_classifier", "mlp_regressor"), "mlp"),
    **dict.fromkeys(("logreg", "logistic_regression", "softmax", "softmax_regression"), "logistic"),
    **dict.fromkeys(("linreg", "linear_regression", "ols", "least_squares", "ridge"), "linear"),
    **dict.fromkeys(("mse", "l2", "squared", "mean_squared_error", "mse_loss"), "squared_error"),
    **dict.fromkeys(("ce", "cross_entropy", "cross_entropy_loss", "nll"), "softmax_cross_entropy"),
    **dict.fromkeys(("categorical_cross_entropy", "nll_loss"), "softmax_cross_entropy"),
    **dict.fromkeys(("bce", "binary_cross_entropy", "log_loss"), "sigmoid_cross_entropy"),
    **dict.fromkeys(("bce_loss", "bce_with_logits_loss", "bce_with_logits"), "sigmoid_cross_entropy"),
    **dict.fromkeys(("smooth_l1", "smooth_l1_loss", "huber_loss"), "huber"),
    **dict.fromkeys(("nag", "sgd_nesterov"), "nesterov"),
    **dict.fromkeys(("gd", "gradient_descent"), "sgd"),
    **dict.fromkeys(("sgd_momentum", "sgdm"), "momentum"),
    **dict.fromkeys(("cosine_annealing", "cosine_decay", "cosineannealinglr"), "cosine"),
    **dict.fromkeys(("exponential_decay", "exp"), "exponential"),
    **dict.fromkeys(("step_decay", "steplr", "multistep"), "step"),
    **dict.fromkeys(("warmup_cosine_decay", "onecycle", "one_cycle"), "warmup_cosine"),
    **dict.fromkeys(("fixed", "flat"), "constant"),
    **dict.fromkeys(("off", "disabled"), "none"),
}


def _letters(word: str) -> str:
    """Return a name in lower case without signs, so that `batchSize` and `batch_size` agree."""
    return re.sub(r"[^a-z0-9]", "", word.lower())


_COMMON_LETTERS = {_letters(word): field for word, field in COMMON.items()}
_SAME_LETTERS = {_letters(word): field for word, field in SAME.items()}
_NO_FIELD_LETTERS = {_letters(word): answer for word, answer in _NO_FIELD.items()}
_CHOICES_LETTERS = {_letters(word): choice for word, choice in _CHOICES.items()}


def common_field(word: str, *, only_same: bool = False) -> str | None:
    """Return the field or the group that a name from elsewhere could mean, None if there is none.

    Args:
        word: The name, which may have the name of a group in front.
        only_same: Whether to leave out the fields of a group that are only suggested.
    """
    group, _, rest = word.lower().partition(".")
    prefix = _COMMON_LETTERS.get(_letters(group), group)
    if rest and prefix in GROUPS:
        # `optimizer.learning_rate` and `opt.lr` are fields of that group, and `ema.decay` is of none.
        names = _SAME_LETTERS if only_same else _COMMON_LETTERS
        field = names.get(_letters(rest), f"{prefix}.{rest}")
        return field if field in FIELDS and field.startswith(f"{prefix}.") else None
    return COMMON.get(word.lower()) or (None if rest else _COMMON_LETTERS.get(_letters(group)))


def suggest_field(path: str, known: Iterable[str]) -> str:
    """Return what a field that does not exist could mean: a name of the table, or the nearest known one."""
    path = path.replace("/", ".")
    group, _, rest = path.lower().partition(".")
    last = path.rpartition(".")[2]
    if answer := _NO_FIELD_LETTERS.get(_letters(last)):
        return answer
    if field := common_field(path) or (common_field(last) if group not in (*GROUPS, "tracker") else None):
        remark = f" {_REMARKS[field]}" if field in _REMARKS else ""
        return f"did you mean {field}?{remark}"
    if field := _nearest_field(path.lower(), list(known)):
        return f"did you mean {field}?"
    if rest and group in GROUPS:
        own = [field for field in FIELDS if field.startswith(f"{group}.")]
        return f"fields of {group} are {', '.join(own)}"
    groups, top = ", ".join(GROUPS), ", ".join(["seeds", "dir", "metric", *TOP])
    return f"it takes a group ({groups}), a field of one, as optimizer.lr, or {top}; plan --cfg=job lists all"


def _nearest_field(path: str, known: list[str]) -> str | None:
    """Return the known field nearest to a path; in a group, only the fields of the group count."""
    group, _, rest = path.partition(".")
    if rest and group in GROUPS:
        parts = {field.partition(".")[2]: field for field in known if field.startswith(f"{group}.")}
        close = difflib.get_close_matches(rest, parts, n=1, cutoff=0.65)
        return parts[close[0]] if close else None
    last = path.rpartition(".")[2]
    by_last_part = {field.rpartition(".")[2]: field for field in reversed(known)}
    close = difflib.get_close_matches(path[:120], known, n=1, cutoff=0.7)
    # `learner.lr` stands for `optimizer.lr`.
    if last in by_last_part and not (close and close[0].partition(".")[0] == group):
        return by_last_part[last]
    near_last = difflib.get_close_matches(last[:120], by_last_part, n=1, cutoff=0.7)
    return close[0] if close else by_last_part[near_last[0]] if near_last else None


def nearest_choice(word: Any, known: Iterable[str]) -> str | None:
    """Return the choice that a word could mean, None if no choice is near."""
    known = list(known)
    if not isinstance(word, str):
        return None
    letters = _letters(Path(word).stem if word.endswith(".yaml") else word)
    exact = {_letters(name): name for name in known}.get(letters) or _CHOICES_LETTERS.get(letters)
    if exact in known:
        return exact
    # Names of data and models are short, and those of other things are near by chance.
    close = difflib.get_close_matches(word.lower()[:120], known, n=1, cutoff=0.65)
    return close[0] if close else None


def suggest_choice(word: Any, known: Iterable[str]) -> str:
    """Return what a choice that does not exist could mean: a name of the table, or the nearest known one."""
    known = list(known)
    if isinstance(word, str) and word.lower().endswith(_TABLES) and "csv" in known:
        kind = "parquet" if word.lower().endswith("parquet") else "csv"
        return f"did you mean data={kind} data.path={word}?"
    nearest = nearest_choice(word, known)
    return f"did you mean {nearest}?" if nearest else f"it takes one of {', '.join(known)}"
