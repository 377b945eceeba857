//! What is left of a program's name without what builds, launchers and packagers add to it.

/// What a name may end with and still be the same program's, longest first where one ends another.
const ENDINGS: &[&str] = &[
    // File types and builds.
    ".exe",
    ".x86_64",
    ".x86",
    ".x64",
    ".i386",
    ".i686",
    ".amd64",
    ".arm64",
    ".aarch64",
    ".bin",
    ".elf",
    ".run",
    ".sh",
    ".appimage",
    ".real",
    ".orig",
    ".wrapped",
    ".jar",
    ".py",
    ".out",
    ".app",
    ".debug",
    // Engines, renderers, protections.
    "-win64-shipping",
    "-win32-shipping",
    "-wingdk-shipping",
    "-linux-shipping",
    "-shipping",
    "_shipping",
    "_dx9",
    "-dx9",
    "_dx11",
    "-dx11",
    "_dx12",
    "-dx12",
    "_d3d11",
    "_vulkan",
    "-vulkan",
    "_vk",
    "-vk",
    "_opengl",
    "-opengl",
    "_gl",
    "-gl",
    "_be",
    "_eac",
    // Systems and word lengths.
    "-linux64",
    "_linux64",
    "-linux32",
    "-linux",
    "_linux",
    ".linux",
    "-win64",
    "_win64",
    "-win32",
    "_win32",
    "-windows",
    "_windows",
    "-x86_64",
    "_x86_64",
    "-amd64",
    "_amd64",
    "-x64",
    "_x64",
    "-x86",
    "_x86",
    "-64bit",
    "_64bit",
    "-32bit",
    "64bit",
    "-64",
    "_64",
    "-32",
    "_32",
    // Who starts it.
    "-launcher",
    "_launcher",
    " launcher",
    "launcher",
    "-wrapper",
    "_wrapper",
    "-bin",
    "_bin",
    "-real",
    "_real",
    "-wrapped",
    "-start",
    "_start",
    "-client",
    "_client",
    "-retail",
    "_retail",
    "-steam",
    "_steam",
    "-gog",
    "_gog",
    "_release",
    "-release",
];
/// A shorter rest says nothing any more, so the ending belongs to the name.
const SHORTEST: usize = 2;

/// The last part of a path of either system.
pub(super) fn file_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

/// The name without its directory, endings, version and separators, in small letters.
pub(super) fn plain(name: &str) -> String {
    let name = file_name(name).to_lowercase();
    squeezed(stripped(&name))
}

/// Only letters and digits, in small letters: how titles of games are compared.
pub(super) fn squeezed(text: &str) -> String {
    text.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

/// The name up to its first separator, as [`plain`] writes it.
pub(super) fn first_word(name: &str) -> String {
    let name = file_name(name).to_lowercase();
    let end = name.find(['-', '_', ' ', '.', '(', '[', '+']).unwrap_or(name.len());
    squeezed(&name[..end])
}

fn stripped(name: &str) -> &str {
    let mut rest = name.trim();
    loop {
        let shorter = without_ending(rest)
            .or_else(|| without_version(rest))
            .or_else(|| without_width(rest));
        match shorter.map(|shorter| shorter.trim_end_matches(['-', '_', '.', ' '])) {
            Some(shorter) if shorter.len() >= SHORTEST => rest = shorter,
            _ => return rest,
        }
    }
}

fn without_ending(name: &str) -> Option<&str> {
    ENDINGS.iter().find_map(|ending| name.strip_suffix(ending))
}

/// `name-1.20.4`, `name_v2`, `name (3.1)`: numbers with dots, or with a v before them. `quake3` keeps its number.
fn without_version(name: &str) -> Option<&str> {
    let (rest, last) = name.rsplit_once(['-', '_', ' '])?;
    let number = last.trim_matches(['(', ')', '[', ']']);
    let digits = number.strip_prefix('v').unwrap_or(number);
    let is_number =
        digits.starts_with(|c: char| c.is_ascii_digit()) && digits.chars().all(|c| c.is_ascii_digit() || c == '.');
    (is_number && (digits.contains('.') || digits.len() < number.len())).then_some(rest)
}

/// `game64`.
fn without_width(name: &str) -> Option<&str> {
    let rest = name.strip_suffix("64").or_else(|| name.strip_suffix("32"))?;
    rest.ends_with(|c: char| c.is_alphabetic()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_others_add_to_a_name_goes() {
        for (name, rest) in [
            ("quake3.exe", "quake3"),
            ("/opt/games/quake3.x86_64", "quake3"),
            ("C:\\Games\\Valheim\\valheim_dx11.exe", "valheim"),
            ("FactoryGame-Win64-Shipping.exe", "factorygame"),
            ("openttd-13.4-linux-amd64", "openttd"),
            ("SuperTuxKart-1.4.AppImage", "supertuxkart"),
            ("terraria.bin.x86_64", "terraria"),
            ("Game Launcher.exe", "game"),
            ("launcher.exe", "launcher"),
            ("ArmA3_x64_BE.exe", "arma3"),
            ("hl2_linux", "hl2"),
            ("eldenring64.exe", "eldenring"),
            ("minetest_v5", "minetest"),
        ] {
            assert_eq!(plain(name), rest, "{name}");
        }
        assert_eq!(first_word("valheim-modded.exe"), "valheim");
    }

    proptest! {
        #[test]
        fn every_name_has_a_plain_one_which_is_its_own(name in any::<String>()) {
            let once = plain(&name);
            prop_assert!(once.len() <= name.len() * 3);
            prop_assert!(once.chars().all(char::is_alphanumeric));
        }
    }
}
