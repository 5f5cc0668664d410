// What the signed-in user may do, so that nothing is offered that would be refused. The gateway decides.

let role = null;

export const may = {
  is: (who) => (role = who?.role ?? null),
  operate: () => role === "operator" || role === "admin",
  audit: () => role === "operator" || role === "admin",
};
