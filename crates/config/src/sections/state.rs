//! `[pool.state]`, and `state` of `[[users]]` and `[[databases]]`.

use session::{Feature, StateRules, Treatment};

use crate::section::Section;

/// What `[pool.state]` makes of `rules`.
pub(super) fn read(section: &Section<'_>, rules: StateRules) -> StateRules {
    Feature::ALL.into_iter().fold(rules, |rules, feature| {
        let default = feature.default_treatment();
        rules.with(feature, section.choice(feature.as_str(), default, feature.treatments()))
    })
}

/// What a user or a database has of it.
pub(super) fn overrides(section: &Section<'_>) -> Vec<(Feature, Treatment)> {
    let said = |feature: Feature| {
        let treatment = section.optional_choice(feature.as_str(), feature.treatments());
        treatment.map(|treatment| (feature, treatment))
    };
    Feature::ALL.into_iter().filter_map(said).collect()
}
