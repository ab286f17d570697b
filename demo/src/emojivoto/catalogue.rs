//! Lists the emojis that can be voted for.

use std::collections::HashMap;
use std::sync::LazyLock;

/// The vote that fails.
pub(crate) const DOUGHNUT: &str = ":doughnut:";

/// An emoji of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// With colons, `:doughnut:`.
    pub(crate) shortcode: String,
    pub(crate) unicode: &'static str,
    /// The method of `emojivoto.v1.VotingService` that votes for it, `VoteDoughnut`.
    pub(crate) method: String,
}

/// All emojis, in the order of the page.
pub(crate) fn all() -> &'static [Entry] {
    &CATALOGUE.entries
}

/// The emoji with this shortcode, and its place in [`all`].
pub(crate) fn by_shortcode(shortcode: &str) -> Option<(usize, &'static Entry)> {
    CATALOGUE.by_shortcode.get(shortcode).map(|place| (*place, &CATALOGUE.entries[*place]))
}

/// The emoji that a method votes for, and its place in [`all`].
pub(crate) fn by_method(method: &str) -> Option<(usize, &'static Entry)> {
    CATALOGUE.by_method.get(method).map(|place| (*place, &CATALOGUE.entries[*place]))
}

struct Catalogue {
    entries: Vec<Entry>,
    by_shortcode: HashMap<String, usize>,
    by_method: HashMap<String, usize>,
}

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    let entry = |(name, unicode): (&str, &'static str)| Entry {
        shortcode: format!(":{name}:"),
        unicode,
        method: method(name),
    };
    let entries: Vec<_> = EMOJIS.into_iter().map(entry).collect();
    let places = |key: fn(&Entry) -> &String| {
        entries.iter().enumerate().map(|(place, entry)| (key(entry).clone(), place)).collect()
    };
    Catalogue {
        by_shortcode: places(|entry| &entry.shortcode),
        by_method: places(|entry| &entry.method),
        entries,
    }
});

/// `jack_o_lantern` is `VoteJackOLantern`.
fn method(name: &str) -> String {
    let mut method = "Vote".to_owned();
    for word in name.split('_') {
        let mut letters = word.chars();
        method.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        method.push_str(letters.as_str());
    }
    method
}

/// Their names and themselves.
const EMOJIS: [(&str, &str); 100] = [
    ("poop", "💩"),
    ("joy", "😂"),
    ("sunglasses", "😎"),
    ("relaxed", "☺️"),
    ("stuck_out_tongue_winking_eye", "😜"),
    ("money_mouth_face", "🤑"),
    ("flushed", "😳"),
    ("mask", "😷"),
    ("nerd_face", "🤓"),
    ("ghost", "👻"),
    ("skull_and_crossbones", "☠️"),
    ("heart_eyes_cat", "😻"),
    ("hear_no_evil", "🙉"),
    ("see_no_evil", "🙈"),
    ("speak_no_evil", "🙊"),
    ("boy", "👦"),
    ("girl", "👧"),
    ("man", "👨"),
    ("woman", "👩"),
    ("older_man", "👴"),
    ("policeman", "👮"),
    ("guardsman", "💂"),
    ("construction_worker_man", "👷"),
    ("prince", "🤴"),
    ("princess", "👸"),
    ("man_in_tuxedo", "🤵"),
    ("bride_with_veil", "👰"),
    ("mrs_claus", "🤶"),
    ("santa", "🎅"),
    ("turkey", "🦃"),
    ("rabbit", "🐰"),
    ("no_good_woman", "🙅‍♀️"),
    ("ok_woman", "🙆‍♀️"),
    ("raising_hand_woman", "🙋‍♀️"),
    ("bowing_man", "🙇‍♂️"),
    ("man_facepalming", "🤦‍♂️"),
    ("woman_shrugging", "🤷‍♀️"),
    ("massage_woman", "💆‍♀️"),
    ("walking_man", "🚶‍♂️"),
    ("running_man", "🏃‍♂️"),
    ("dancer", "💃"),
    ("man_dancing", "🕺"),
    ("dancing_women", "👯‍♀️"),
    ("rainbow", "🌈"),
    ("skier", "⛷️"),
    ("golfing_man", "🏌️‍♂️"),
    ("surfing_man", "🏄‍♂️"),
    ("basketball_man", "⛹️‍♂️"),
    ("biking_man", "🚴‍♂️"),
    ("point_up_2", "👆"),
    ("vulcan_salute", "🖖"),
    ("metal", "🤘"),
    ("call_me_hand", "🤙"),
    ("thumbsup", "👍"),
    ("wave", "👋"),
    ("clap", "👏"),
    ("raised_hands", "🙌"),
    ("pray", "🙏"),
    ("dog", "🐶"),
    ("cat2", "🐈"),
    ("pig", "🐷"),
    ("hatching_chick", "🐣"),
    ("snail", "🐌"),
    ("bacon", "🥓"),
    ("pizza", "🍕"),
    ("taco", "🌮"),
    ("burrito", "🌯"),
    ("ramen", "🍜"),
    ("doughnut", "🍩"),
    ("champagne", "🍾"),
    ("tropical_drink", "🍹"),
    ("beer", "🍺"),
    ("tumbler_glass", "🥃"),
    ("world_map", "🗺️"),
    ("beach_umbrella", "🏖️"),
    ("mountain_snow", "🏔️"),
    ("camping", "🏕️"),
    ("steam_locomotive", "🚂"),
    ("flight_departure", "🛫"),
    ("rocket", "🚀"),
    ("star2", "🌟"),
    ("sun_behind_small_cloud", "🌤️"),
    ("cloud_with_rain", "🌧️"),
    ("fire", "🔥"),
    ("jack_o_lantern", "🎃"),
    ("balloon", "🎈"),
    ("tada", "🎉"),
    ("trophy", "🏆"),
    ("iphone", "📱"),
    ("pager", "📟"),
    ("fax", "📠"),
    ("bulb", "💡"),
    ("money_with_wings", "💸"),
    ("crystal_ball", "🔮"),
    ("underage", "🔞"),
    ("interrobang", "⁉️"),
    ("100", "💯"),
    ("checkered_flag", "🏁"),
    ("crossed_swords", "⚔️"),
    ("floppy_disk", "💾"),
];

#[cfg(test)]
mod tests {
    use super::*;

    const PROTO: &str = include_str!("../../proto/emojivoto.proto");

    #[test]
    fn each_emoji_has_its_method_in_the_proto_file() {
        let votes: Vec<_> = PROTO
            .lines()
            .filter_map(|line| line.trim().strip_prefix("rpc Vote")?.split_once('('))
            .map(|(name, _)| format!("Vote{name}"))
            .collect();
        let methods: Vec<_> = all().iter().map(|entry| entry.method.clone()).collect();
        assert_eq!(votes, methods);
    }

    #[test]
    fn emojis_are_found_by_shortcode_and_method() {
        let (place, entry) = by_shortcode(DOUGHNUT).unwrap();
        assert_eq!((entry.unicode, entry.method.as_str()), ("🍩", "VoteDoughnut"));
        assert_eq!(by_method("VoteDoughnut").unwrap().0, place);
        assert!(by_shortcode("doughnut").is_none() && by_method("Results").is_none());
        assert_eq!(CATALOGUE.by_shortcode.len(), EMOJIS.len(), "a shortcode occurs twice");
    }
}
