"""Names that people know from elsewhere, and the fields and choices of ours that they could mean."""

from collections.abc import Iterable
from typing import Any

from vsweep.config.schema import FIELDS, GROUPS
from vsweep.errors import suggest

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
    **dict.fromkeys(("epoch", "epochs", "num_epochs", "n_epochs", "max_epochs", "train_epochs"), "steps"),
    **dict.fromkeys(("iterations", "num_iterations", "n_iterations", "max_iter", "iters"), "steps"),
    **dict.fromkeys(("num_steps", "n_steps", "max_steps", "total_steps", "train_steps"), "steps"),
    **dict.fromkeys(("log_every", "log_interval", "eval_every", "eval_interval", "log_freq"), "record_every"),
    **dict.fromkeys(("lr_init", "init_lr", "base_lr", "max_lr", "learningrate", "step_size"), "optimizer.lr"),
    **dict.fromkeys(("wd", "l2", "l2_penalty", "weightdecay"), "optimizer.weight_decay"),
    **dict.fromkeys(("beta_1", "b_1"), "optimizer.b1"),
    **dict.fromkeys(("beta_2", "b_2"), "optimizer.b2"),
    "epsilon": "optimizer.eps",
    **dict.fromkeys(("batchsize", "batch", "bs", "minibatch", "mini_batch_size"), "data.batch_size"),
    **dict.fromkeys(("validation_split", "val_split", "val_size"), "data.val_fraction"),
    **dict.fromkeys(("test_split", "test_size"), "data.test_fraction"),
    **dict.fromkeys(("label", "target_column", "label_column"), "data.target"),
    **dict.fromkeys(("file", "csv_path", "data_path", "filename"), "data.path"),
    **dict.fromkeys(("normalize", "standardise", "scale"), "data.standardize"),
    **dict.fromkeys(("hidden_dim", "hidden_units", "units", "num_units", "n_units"), "model.width"),
    **dict.fromkeys(("layer_size", "fc_layer_size", "n_hidden", "neurons"), "model.width"),
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
    **dict.fromkeys(("opt", "optim"), "optimizer"),
    **dict.fromkeys(("scheduler", "lr_scheduler", "lr_schedule"), "schedule"),
    **dict.fromkeys(("criterion", "loss_fn", "loss_function", "objective"), "loss"),
    **dict.fromkeys(("project", "wandb_project", "wandb.project"), "tracker.wandb.project"),
    **dict.fromkeys(("entity", "wandb_entity", "wandb.entity"), "tracker.wandb.entity"),
    **dict.fromkeys(("float", "precision_dtype", "param_dtype"), "dtype"),
}
# Remarks on fields whose other names mean something slightly different.
_REMARKS = {
    "steps": "A step is one update: with the full batch, an epoch is one step",
    "seeds": "A number counts the seeds, and a list names them: seeds=[3]",
}
_NO_FIELD = {
    **dict.fromkeys(
        ("dropout", "dropout_rate", "drop", "p_dropout", "batch_norm", "batchnorm", "layer_norm"),
        "the shipped models have none; a model of your own can have it: model=own",
    ),
    **dict.fromkeys(
        ("early_stopping", "patience", "early_terminate"), "every training runs to its end: leave it out"
    ),
    **dict.fromkeys(
        ("device", "devices", "gpu", "gpus", "num_workers", "n_jobs", "accelerator"),
        "all devices of the process are used: leave it out",
    ),
}
_CHOICES = {
    **dict.fromkeys(("mnist", "fashion_mnist", "usps", "optdigits", "load_digits"), "digits"),
    **dict.fromkeys(("file", "table", "tsv", "pandas"), "csv"),
    **dict.fromkeys(("spiral", "two_spirals"), "spirals"),
    **dict.fromkeys(("make_moons", "two_moons"), "moons"),
    **dict.fromkeys(("nn", "fc", "fcn", "dense", "feedforward", "network", "neural_network"), "mlp"),
    **dict.fromkeys(("logreg", "logistic_regression", "softmax", "softmax_regression"), "logistic"),
    **dict.fromkeys(("linreg", "linear_regression", "ols", "least_squares", "ridge"), "linear"),
    **dict.fromkeys(("mse", "l2", "squared", "mean_squared_error", "mse_loss"), "squared_error"),
    **dict.fromkeys(("ce", "cross_entropy", "crossentropy", "nll"), "softmax_cross_entropy"),
    **dict.fromkeys(("bce", "binary_cross_entropy", "log_loss"), "sigmoid_cross_entropy"),
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


def common_field(word: str) -> str | None:
    """Return the field or the group that a name from elsewhere could mean, None if there is none."""
    path = word.lower().replace("-", "_")
    group, _, rest = path.partition(".")
    prefix = COMMON.get(group, group)
    if rest and prefix in GROUPS:
        # `optimizer.learning_rate` and `opt.lr` are fields of that group, and `ema.decay` is of none.
        field = COMMON.get(rest, f"{prefix}.{rest}")
        return field if field in FIELDS and field.startswith(f"{prefix}.") else None
    return COMMON.get(path)


def suggest_field(path: str, known: Iterable[str]) -> str:
    """Return what a field that does not exist could mean: a name of the table, or the nearest known one."""
    word = path.lower().rpartition(".")[2]
    if field := common_field(path) or common_field(word):
        remark = f" {_REMARKS[field]}" if field in _REMARKS else ""
        return f"did you mean {field}?{remark}"
    return _NO_FIELD.get(word) or suggest(path, known)


def suggest_choice(word: Any, known: Iterable[str]) -> str:
    """Return what a choice that does not exist could mean: a name of the table, or the nearest known one."""
    known = list(known)
    text = word.lower().replace("-", "_") if isinstance(word, str) else ""
    nearest = text if text in known else _CHOICES.get(text)
    # Names of data and models are short, and those of other things are near by chance.
    return f"did you mean {nearest}?" if nearest in known else suggest(text, known, cutoff=0.65)
