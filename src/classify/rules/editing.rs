//! Programs that change files.

use super::super::call::{Call, Found, is, one_of};
use super::super::entry::{Entry, all, by};
use super::super::grammar::is_real_file;
use crate::class::Class;

pub(super) const TABLE: &[Entry] = &[
    all(
        Class::Edit,
        &[
            "mv",
            "cp",
            "rm",
            "mkdir",
            "rmdir",
            "touch",
            "chmod",
            "chown",
            "chgrp",
            "ln",
            "unlink",
            "link",
            "truncate",
            "fallocate",
            "dd",
            "shred",
            "rename",
            "prename",
            "mmv",
            "install",
            "mkfifo",
            "mknod",
            "mktemp",
            "setfacl",
            "chattr",
            "setfattr",
            "setcap",
            "patch",
            "apply_patch",
            "applypatch",
            "ed",
            "ex",
            "red",
            "vi",
            "vim",
            "nvim",
            "nano",
            "pico",
            "emacsclient",
            "micro",
            "hx",
            "dos2unix",
            "unix2dos",
            "split",
            "csplit",
            "sponge",
            "shar",
            "trash",
            "trash-put",
            "rimraf",
            "mkdirp",
            "shx",
            "wiggle",
            "sd",
            "comby",
            "update-alternatives",
            "crudini",
            "cpio",
            "ptx",
            "rmt",
            "chsh",
            "srm",
            "fdupes",
            "stow",
            "replace",
            "str_replace_editor",
            "codemod",
            "jscodeshift",
            "mkfs",
            "e2fsck",
            "fsck",
            "tune2fs",
            "parted",
        ],
    ),
    by(&["sed", "gsed"], |call| {
        let in_place = call.args().take_while(|arg| *arg != b"--").any(|arg| match arg {
            b"--in-place" => true,
            [b'-', b'-', rest @ ..] => rest.starts_with(b"in-place="),
            // In a cluster, what follows e, f or l is a value.
            [b'-', letters @ ..] => letters.iter().take_while(|b| !b"efl".contains(b)).any(|&b| b == b'i'),
            _ => false,
        });
        is(if in_place { Class::Edit } else { Class::Explore })
    }),
    by(&["tee"], |call| {
        let writes = call.operands(1, &[]).any(is_real_file);
        is(if writes { Class::Edit } else { Class::Explore })
    }),
    by(&["tar", "gtar", "bsdtar"], tar),
    by(&["unzip", "7z", "7za", "7zr", "unrar", "unar", "cabextract"], |call| {
        let looks = call.has(&["-l", "-t", "-p", "-z", "-Z", "-v", "-lv", "-c"])
            || one_of(call.word(1), &["l", "t", "lb", "lt"]);
        is(if looks { Class::Explore } else { Class::Edit })
    }),
    by(
        &[
            "gzip",
            "gunzip",
            "bzip2",
            "bunzip2",
            "xz",
            "unxz",
            "zstd",
            "unzstd",
            "lz4",
            "lzma",
            "compress",
            "uncompress",
            "brotli",
            "pigz",
            "lzop",
            "pbzip2",
        ],
        |call| {
            let looks = call.has_letter(b'c')
                || call.has_letter(b'l')
                || call.has_letter(b't')
                || call.has(&["--stdout", "--list", "--test"]);
            let filters = call.operand(1, &[]).is_none() && call.reads();
            is(if looks || filters { Class::Explore } else { Class::Edit })
        },
    ),
    all(Class::Edit, &["zip", "rar", "gpg", "gpg2", "age", "sops"]),
];

/// tar: to list is to look.
fn tar(call: &Call<'_>) -> Found {
    let first = call.word(1);
    let lists = call.has(&["--list", "--diff", "--compare"])
        || (first.first() != Some(&b'-') && first.contains(&b't') && !first.contains(&b'x'))
        || call
            .args()
            .any(|arg| arg.len() > 1 && arg[0] == b'-' && arg[1] != b'-' && arg[1..].starts_with(b"t"));
    let to_output = call.has(&["-O", "--to-stdout"]);
    is(if lists || to_output { Class::Explore } else { Class::Edit })
}
