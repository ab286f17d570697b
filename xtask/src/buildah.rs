//! Builds container images with buildah, which needs no daemon.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result};

use crate::{host, steps};

/// An image to build.
pub(crate) struct Image<'a> {
    /// Its full name.
    pub(crate) tag: &'a str,
    pub(crate) dockerfile: &'a Path,
    /// The files that the Dockerfile copies.
    pub(crate) context: &'a Path,
    /// Build arguments.
    pub(crate) arguments: &'a [(&'a str, &'a str)],
    /// A stage that is not built: the context takes its place.
    pub(crate) stage: Option<&'a str>,
    /// The time of all files, in seconds since 1970: the same files make the same image.
    pub(crate) seconds: u64,
    /// The OCI archive to write.
    pub(crate) archive: &'a Path,
}

const LIMIT: Duration = Duration::from_secs(300);

/// Writes the archive, which is complete or does not exist.
pub(crate) fn build(image: &Image<'_>) -> Result<()> {
    let store = host::target_dir().join("xtask/buildah");
    let name = image.archive.file_stem().context("an archive without a name")?.to_string_lossy();
    let mut build = buildah(&store)?;
    // Debian's runc is not needed to copy files.
    build.args(["bud", "--isolation", "chroot", "--pull-never", "--tag", image.tag]);
    build.args(["--timestamp", &image.seconds.to_string(), "--file"]).arg(image.dockerfile);
    for (name, value) in image.arguments {
        build.arg("--build-arg").arg(format!("{name}={value}"));
    }
    if let Some(stage) = image.stage {
        build.arg("--build-context").arg(format!("{stage}={}", image.context.display()));
    }
    build.arg(image.context);
    steps::quiet(&mut build, &format!("buildah-{name}"), LIMIT)?;

    let draft = image.archive.with_extension("draft");
    // It would add the image to an archive that exists.
    let _ = fs::remove_file(&draft);
    let mut push = buildah(&store)?;
    push.args(["push", "--quiet", image.tag]).arg(format!("oci-archive:{}:{}", draft.display(), image.tag));
    steps::quiet(&mut push, &format!("buildah-push-{name}"), LIMIT)?;
    fs::rename(&draft, image.archive).with_context(|| image.archive.display().to_string())?;

    // The store would keep a copy of everything.
    let mut remove = buildah(&store)?;
    steps::quiet(remove.args(["rmi", "--all", "--force"]), &format!("buildah-rmi-{name}"), LIMIT)
}

/// As root: without it, files could not belong to root. The file system driver is the one that needs no mounts.
fn buildah(store: &Path) -> Result<Command> {
    let mut command = host::privileged_quietly("buildah", "building images")?;
    command.args(["--storage-driver", "vfs", "--root"]).arg(store.join("root"));
    command.arg("--runroot").arg(store.join("run"));
    Ok(command)
}
