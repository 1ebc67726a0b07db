//! The packs that git makes of others.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;

use crate::disk;
use crate::git;

use super::super::{damage, pack};
use super::contents::contents;
use super::job::Job;
use super::packs::Listed;
use super::{Fault, Keeper};

impl Keeper {
    /// A pack with all that these packs hold.
    ///
    /// Git sees no others: it looks for an object in one pack after the other.
    pub(super) fn pack_contents(&self, old: &[Listed]) -> Result<PathBuf, Fault> {
        let seen = pack::folder_apart(&self.git_dir, "merged")?;
        let folder = seen.path().join("pack");
        fs::create_dir(&folder)?;
        for pack in old {
            for name in [pack.file_name("pack"), pack.file_name("idx")] {
                // Git would be ended by that alone.
                if let Some(unread) = damage::unread(&self.folder.join(&name)) {
                    return Err(io::Error::other(unread.to_string()).into());
                }
                disk::name_again(&self.folder.join(&name), &folder.join(&name))?;
            }
        }
        let mut command = self.pack_objects();
        command.env("GIT_OBJECT_DIRECTORY", seen.path());
        self.new_pack(command, contents(seen.path())?)
            .map_err(|fault| match fault {
                // Nobody finds a file there afterwards.
                Fault::Git { what, said } => {
                    let [seen, real] =
                        [folder.as_path(), &self.folder].map(|it| it.to_string_lossy());
                    let said = said.replace(&*seen, &real);
                    Fault::Git { what, said }
                }
                other => other,
            })
    }

    /// A pack with all objects there are, reachable or not, with a bitmap.
    pub(super) fn pack_all(&self) -> Result<PathBuf, Fault> {
        let mut command = self.pack_objects();
        command.args(["--all", "--keep-unreachable", "--write-bitmap-index"]);
        self.new_pack(command, String::new())
    }

    fn pack_objects(&self) -> Command {
        let mut command = git::command(&self.git_dir);
        for setting in [
            "core.fsync=all",
            "pack.threads=1",
            "pack.windowMemory=128m",
            "pack.packSizeLimit=0",
        ] {
            command.arg("-c").arg(setting);
        }
        command.args([
            "pack-objects",
            "--progress",
            "--delta-base-offset",
            "--non-empty",
        ]);
        command
    }

    /// Lets git write a pack, and gives its path without extension. What git leaves when it fails is removed.
    pub(super) fn new_pack(&self, mut command: Command, input: String) -> Result<PathBuf, Fault> {
        let apart = pack::folder_apart(&self.git_dir, "merge")?;
        command.arg(apart.path().join("pack"));
        let what = "pack-objects";
        let job = Job {
            what,
            command,
            input,
        };
        let said = self
            .flights
            .clean_after(&self.folder, || job.run(&self.patience))?;
        let name = said.trim_end();
        let is_id = name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_id {
            let said = format!("it names no pack but {said:?}");
            return Err(Fault::Git { what, said });
        }
        let name = format!("pack-{name}");
        pack::take_over(&apart.path().join(&name), &self.folder)?;
        Ok(self.folder.join(name))
    }
}
