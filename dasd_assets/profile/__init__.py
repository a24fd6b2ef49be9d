"""A profile: one validated YAML that holds every setting of a pipeline.

`load_profile("tiny")` reads a profile shipped with the project, `load_profile("my.yaml")` the
user's own. Relative paths of a shipped profile are relative to the project root, those of a user's
own to its folder. An unknown key or a bad value is an error that names file,
key, value and what is allowed. Section names are the names of the asset groups; the sections are in
this package.
"""

from dasd_assets.profile.answers import ImportedAnswers
from dasd_assets.profile.divergence_sampling import (
    ClassRule,
    DivergenceSampling,
    NoWeights,
    PowerWeights,
    SampleWeights,
    SegmenterName,
)
from dasd_assets.profile.domains import PAPER_DOMAINS, GraderSettings, JudgeGrader
from dasd_assets.profile.evaluation import Benchmark, Evaluation, EvaluationProvenance
from dasd_assets.profile.loading import ProfileError, load_profile
from dasd_assets.profile.mixed_policy import EntropyCut, MixedPolicyDistillation
from dasd_assets.profile.models import (
    CHECKOUT,
    PROFILE_FOLDER,
    PROJECT_ROOT,
    SHIPPED,
    TINY_WORLD,
    Model,
    Student,
    Teacher,
    resolve_path,
)
from dasd_assets.profile.plan import ModelShape, PlanSettings
from dasd_assets.profile.profile import ComputePlan, Profile, settings_version
from dasd_assets.profile.questions import Layout, MappedField, Questions, Turns
from dasd_assets.profile.release import Release
from dasd_assets.profile.responses import ResponseFiltering, TeacherResponses, Verification

__all__ = [
    "CHECKOUT",
    "PAPER_DOMAINS",
    "PROFILE_FOLDER",
    "PROJECT_ROOT",
    "SHIPPED",
    "TINY_WORLD",
    "Benchmark",
    "ClassRule",
    "ComputePlan",
    "DivergenceSampling",
    "EntropyCut",
    "Evaluation",
    "EvaluationProvenance",
    "GraderSettings",
    "ImportedAnswers",
    "JudgeGrader",
    "Layout",
    "MappedField",
    "MixedPolicyDistillation",
    "Model",
    "ModelShape",
    "NoWeights",
    "PlanSettings",
    "PowerWeights",
    "Profile",
    "ProfileError",
    "Questions",
    "Release",
    "ResponseFiltering",
    "SampleWeights",
    "SegmenterName",
    "Student",
    "Teacher",
    "TeacherResponses",
    "Turns",
    "Verification",
    "load_profile",
    "resolve_path",
    "settings_version",
]  # fmt: skip
