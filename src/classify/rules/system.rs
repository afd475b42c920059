//! Package managers of systems.

use super::super::call::{is, one_of};
use super::super::entry::{Entry, Verbs, all, by, verb, verbs};
use crate::class::Class;

pub(super) const TABLE: &[Entry] = &[
    verbs(
        &["apt-get", "apt", "aptitude", "apt-fast", "nala"],
        Verbs {
            with_value: &["-o", "-t", "-c", "--option", "--target-release"],
            verbs: &[verb(
                Class::Explore,
                &[
                    "list",
                    "search",
                    "show",
                    "policy",
                    "depends",
                    "rdepends",
                    "madison",
                    "changelog",
                    "help",
                    "check",
                    "indextargets",
                    "why",
                    "showsrc",
                    "history",
                ],
            )],
            bare: Class::Explore,
            other: Class::Install,
        },
    ),
    all(
        Class::Explore,
        &[
            "apt-cache",
            "apt-file",
            "apt-config",
            "dpkg-query",
            "dpkg-architecture",
            "repoquery",
            "pkginfo",
            "apt-rdepends",
            "debtree",
            "equery",
            "rpmquery",
        ],
    ),
    all(
        Class::Install,
        &[
            "add-apt-repository",
            "apt-add-repository",
            "apt-key",
            "tasksel",
            "gdebi",
            "debootstrap",
            "pacstrap",
            "yay",
            "paru",
            "emerge",
            "xbps-install",
            "swupd",
            "slackpkg",
            "eopkg",
            "opkg",
            "tdnf",
            "urpmi",
            "mas",
            "choco",
            "scoop",
            "winget",
            "port",
            "softwareupdate",
            "rosetta",
            "unattended-upgrade",
        ],
    ),
    by(&["dpkg", "rpm", "dpkg-deb"], |call| {
        let installs = call.args().filter(|arg| arg.starts_with(b"-")).any(|arg| match arg {
            [b'-', b'-', ..] => one_of(
                arg,
                &[
                    "--install",
                    "--configure",
                    "--remove",
                    "--purge",
                    "--unpack",
                    "--erase",
                    "--upgrade",
                    "--import",
                    "--add-architecture",
                    "--freshen",
                    "--reinstall",
                    "--extract",
                ],
            ),
            _ if call.program() == b"rpm" => {
                !arg.contains(&b'q') && !arg.contains(&b'V') && arg[1..].iter().any(|b| b"iUeF".contains(b))
            }
            _ => arg[1..].iter().any(|b| b"irPx".contains(b)),
        });
        is(match (installs, call.has(&["-b", "--build"])) {
            (_, true) => Class::Build,
            (true, _) => Class::Install,
            _ => Class::Explore,
        })
    }),
    verbs(
        &["dnf", "yum", "microdnf", "zypper", "dnf5"],
        Verbs {
            with_value: &["-c", "-d", "-e", "--enablerepo", "--disablerepo", "--installroot"],
            verbs: &[verb(
                Class::Explore,
                &[
                    "list",
                    "search",
                    "info",
                    "provides",
                    "whatprovides",
                    "repolist",
                    "history",
                    "check-update",
                    "deplist",
                    "repoquery",
                    "se",
                    "if",
                    "lu",
                    "lr",
                    "repos",
                    "packages",
                    "check",
                    "updateinfo",
                ],
            )],
            bare: Class::Explore,
            other: Class::Install,
        },
    ),
    verbs(
        &["apk"],
        Verbs {
            with_value: &["-p", "-X", "-t", "--repository", "--virtual", "--root"],
            verbs: &[verb(
                Class::Explore,
                &["info", "list", "search", "policy", "version", "stats", "dot", "audit", "query", "index"],
            )],
            bare: Class::Explore,
            other: Class::Install,
        },
    ),
    by(&["pacman"], |call| {
        let action = call.word(1);
        let looks = action.starts_with(b"-Q")
            || action.starts_with(b"-Ss")
            || action.starts_with(b"-Si")
            || action.starts_with(b"-F")
            || action.starts_with(b"-T");
        is(if looks { Class::Explore } else { Class::Install })
    }),
    verbs(
        &["brew", "linuxbrew"],
        Verbs {
            with_value: &[],
            verbs: &[
                verb(
                    Class::Explore,
                    &[
                        "list", "ls", "info", "search", "doctor", "outdated", "deps", "uses", "config",
                        "home", "leaves", "cat", "desc", "log", "shellenv", "formulae", "casks", "--prefix",
                        "--cellar",
                    ],
                ),
                verb(Class::Run, &["services", "test", "audit", "style"]),
            ],
            bare: Class::Explore,
            other: Class::Install,
        },
    ),
    verbs(
        &["snap", "flatpak", "pkg_add", "pkgin", "xbps", "conan", "vcpkg", "spack", "aqua", "pkgx", "ports"],
        Verbs {
            with_value: &[],
            verbs: &[
                verb(
                    Class::Explore,
                    &[
                        "list",
                        "info",
                        "find",
                        "search",
                        "remotes",
                        "version",
                        "connections",
                        "query",
                        "spec",
                        "inspect",
                        "graph",
                    ],
                ),
                verb(Class::Run, &["run"]),
                verb(Class::Build, &["build", "create"]),
            ],
            bare: Class::Explore,
            other: Class::Install,
        },
    ),
];
