//! What the program does with a database besides serving it: copies it, brings a copy back, and changes its key. It tells people what
//! came of it and what to do next.

use std::{env, process::ExitCode};

use signalbox_control_plane::{
    backup,
    fence::Fence,
    files::DataDir,
    rekey::{self, Depth, Done},
    restore::{self, Difference, Fate, Restored, Standing, Taking},
    seal::MasterKey,
};

use super::{
    FAILED,
    config::{
        self,
        storage::{AdoptHistory, Backup, Restore, RotateMasterKey},
    },
};

/// Resources that are named one by one.
const MAX_NAMED: usize = 100;

pub(super) async fn back_up(options: Backup) -> anyhow::Result<ExitCode> {
    let copy = backup::make(&options.place.database(), &options.out).await?;
    tracing::info!(
        file = %copy.path.display(),
        revision = copy.revision,
        "backed up and verified; its secrets open under the master key of now, which is not in it: keep that elsewhere"
    );
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn restore(options: Restore) -> anyhow::Result<ExitCode> {
    let database = options.place.prepare()?;
    let taking = if options.adopt { Taking::AtOnce } else { Taking::Fenced };
    let Restored { from, revision, replaced, differences } =
        Box::pin(restore::restore(&database, &options.from, taking)).await?;
    tell(differences.as_deref());
    let replaced = replaced.map(|path| path.display().to_string());
    tracing::info!(database = %database.display(), from_revision = from, revision, replaced, "restored");
    match taking {
        Taking::AtOnce => tracing::info!("data planes take it when the control plane is started"),
        Taking::Fenced => tracing::warn!(
            "data planes that hold anything later keep it: start the control plane, revoke again what must stay revoked, \
             stop it, and run `signalbox-control-plane adopt-history`"
        ),
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn adopt(options: AdoptHistory) -> anyhow::Result<ExitCode> {
    let database = options.place.database();
    let Standing { revision, fence, differences } = restore::standing(&database).await?;
    match &fence {
        None => tracing::info!(revision, "data planes take this history already, as far as the files tell"),
        Some(Fence::Restored { cut }) => {
            tracing::warn!(revision, restored_from = cut.revision.get(), "restored from a backup, and not adopted yet");
        }
        Some(Fence::Forked { published }) => tracing::warn!(
            revision,
            published = published.revision.get(),
            "older than what was published from it; what came after is lost with this"
        ),
    }
    if fence.is_some() {
        tell(differences.as_deref());
    }
    if options.check {
        return Ok(ExitCode::from(if fence.is_none() { 0 } else { FAILED }));
    }
    let revision = restore::adopt(&database).await?;
    tracing::info!(database = %database.display(), revision, "adopted: data planes take it, whatever they hold");
    Ok(ExitCode::SUCCESS)
}

fn tell(differences: Option<&[Difference]>) {
    let Some(differences) = differences else {
        tracing::info!("there is no replaced file to tell by what differs");
        return;
    };
    for Difference { name, fate } in differences.iter().take(MAX_NAMED) {
        match fate {
            Fate::Back => tracing::warn!(resource = name, "is back: it was removed after the backup"),
            Fate::Gone => tracing::warn!(resource = name, "is gone: it was made after the backup"),
            Fate::Older => tracing::warn!(resource = name, "is as before: it was changed after the backup"),
        }
    }
    if differences.len() > MAX_NAMED {
        tracing::warn!(more = differences.len() - MAX_NAMED, "and more");
    }
}

pub(super) async fn rotate_master_key(options: RotateMasterKey) -> anyhow::Result<ExitCode> {
    let RotateMasterKey { place, master_key_file, new_master_key_file: file, data_key } = options;
    let (old, _) = config::master_key(&place, master_key_file, |name| env::var_os(name))?;
    let new = new_key(&file)?;
    let depth = if data_key { Depth::DataKey } else { Depth::MasterKey };
    let done = rekey::rotate(&place.database(), &old, &new, depth).await?;
    let (key, new_key) = (new.id(), file.display());
    match done {
        Done::Already => tracing::info!(key, "the database opens under the new master key already"),
        Done::Rotated { secrets } => tracing::info!(key, sealed_anew = secrets, "the master key is another one"),
    }
    tracing::info!(
        %new_key,
        "serve with --master-key-file and this file from now on, or move it to where the old key is; backups from before open \
         under the old key only"
    );
    Ok(ExitCode::SUCCESS)
}

fn new_key(file: &std::path::Path) -> anyhow::Result<MasterKey> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(std::path::Path::new("."));
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let text = DataDir::open(folder)?.secret(name, || MasterKey::generate().to_text())?;
    let from = file.display().to_string();
    Ok(MasterKey::parse(&text).map_err(|source| config::Error::MasterKey { from, source })?)
}
