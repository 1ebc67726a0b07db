//! What the server's account may do in the repository.

use reqwest::Method;
use serde_json::{Value, json};

use super::told::is_so;
use super::{Owner, Plan, SetupFault, Step};

impl Plan {
    /// Whether there is such an account. A forge shows organisations among its users and may put one in the place of the
    /// account that pushes, and then nobody does.
    pub(super) async fn robot_must_be_an_account(&self, forge: &Owner) -> Result<(), SetupFault> {
        let robot = &self.robot;
        if forge.read(&format!("/users/{robot}")).await?.is_none() {
            return Err(SetupFault::NoRobot(robot.clone()));
        }
        match forge.is_organisation(robot).await? {
            true => Err(SetupFault::RobotIsOrganisation(robot.clone())),
            false => Ok(()),
        }
    }

    /// Makes the robot a collaborator that may write, and reads it back.
    pub(super) async fn robot_may_write(
        &self,
        forge: &Owner,
        found: &Value,
        tell: &mut dyn FnMut(&Step),
    ) -> Result<(), SetupFault> {
        let what = format!("`{}` may write there", self.robot);
        if !found.is_null() && self.may_robot_write(forge).await? {
            tell(&is_so(&what));
            return Ok(());
        }
        if !self.is_dry {
            self.let_robot_write(forge).await?;
        }
        tell(&self.changed(&what));
        Ok(())
    }

    /// Who was taken into a team and out again may be left on a forge's list of collaborators with no right at all;
    /// the list alone is looked at when one is added, so such an entry is made anew.
    async fn let_robot_write(&self, forge: &Owner) -> Result<(), SetupFault> {
        let path = self.api(&format!("/collaborators/{}", self.robot));
        let write = json!({ "permission": "write" });
        forge.write(Method::PUT, &path, &write).await?;
        if self.may_robot_write(forge).await? {
            return Ok(());
        }
        forge.write(Method::DELETE, &path, &Value::Null).await?;
        forge.write(Method::PUT, &path, &write).await?;
        match self.may_robot_write(forge).await? {
            true => Ok(()),
            false => Err(SetupFault::RobotMayNot {
                robot: self.robot.clone(),
                repository: self.repository.clone(),
            }),
        }
    }

    /// Where people sign in to a private registry it may more than write, on purpose.
    async fn may_robot_write(&self, forge: &Owner) -> Result<bool, SetupFault> {
        let path = self.api(&format!("/collaborators/{}/permission", self.robot));
        let known = forge.read(&path).await?;
        let permission = known.as_ref().and_then(|it| it["permission"].as_str());
        Ok(matches!(permission, Some("write" | "admin" | "owner")))
    }
}
