// What the signed-in user may do, so that nothing is offered that would be refused. The gateway decides.

let user = null;

const is = (...roles) => roles.includes(user?.role);

export const may = {
  is: (who) => (user = who ?? null),
  operate: () => is("operator", "admin"),
  audit: () => is("operator", "admin"),
  manage: () => is("admin"),
  configure: () => is("admin") && may.whole(),
  /** Whether they see all tenants. */
  whole: () => user !== null && user.tenants === null,
  /** The tenants they see; null for all. */
  tenants: () => user?.tenants ?? null,
};
